#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sophia/models/causal_lm.h"
#include "sophia/nn/activation_policy.h"

namespace sophia::train {

// Keeps the results of matrix products and attention; what lies between is cheap to compute again.
Remat SaveProducts();

inline constexpr std::string_view kAutoPolicy = "auto";

// How a step trades time for memory. Loss and gradients stay the same but for rounding.
struct MemoryPolicy {
  nn::ActivationPolicy activations = {.remat = SaveProducts()};
  int64_t loss_chunk = 128;  // tokens whose logits exist at a time, where no kernel makes the loss

  // From levers separated by commas: what a layer keeps ("everything"; "products"; "layers", its
  // input only; or names out of linear, attention and lora, joined by +), "every=K", "offload",
  // "prefetch" of what is offloaded, "offload_tables", "tile=N", "kv_heads=N", "loss_chunk=N".
  // Throws Error for anything else.
  static MemoryPolicy FromText(const std::string& text);
  // What FromText reads, without the levers that are as by default.
  std::string ToString() const;
};

// Policies to try for sequences of `length` tokens in such a model. On most chips each takes longer
// than the one before it, see PoliciesByTime(); the last takes the least of the device's memory. A
// host beside the device can hold activations.
std::vector<MemoryPolicy> PoliciesToTry(const models::ModelSizes& sizes, int64_t length,
                                        bool has_host);

}  // namespace sophia::train
