#include <algorithm>
#include <array>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/io/gguf_blocks.h"
#include "sophia/merge/gguf_model.h"

namespace sophia::merge {
namespace {

constexpr std::array<std::string_view, 6> kQuantizations = {"f32",  "f16",  "bf16",
                                                            "q8_0", "q4_0", "q4_k_m"};

// What takes the place of a type whose block does not divide the rows.
std::string_view Looser(std::string_view storage) {
  if (storage == "Q4_K") return "Q5_0";
  if (storage == "Q6_K") return "Q8_0";
  return "F16";
}

bool Fits(std::string_view storage, int64_t row) {
  return row % io::GgufStorage(io::GgufTypeOf(storage).value())->block_elements == 0;
}

// "model.layers.3.…" -> 3; -1 elsewhere.
int64_t LayerOf(std::string_view name) {
  constexpr std::string_view kLayers = "model.layers.";
  if (!name.starts_with(kLayers)) return -1;
  return std::stoll(std::string(name.substr(kLayers.size())));
}

// The first and last eighths of the layers and every third between hurt most when coarse.
bool NeedsMoreBits(int64_t layer, int64_t layers) {
  const int64_t eighth = layers / 8;
  return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

std::string_view Wanted(std::string_view quantization, std::string_view name, int64_t layers,
                        bool tied) {
  const bool is_head = name == (tied ? "model.embed_tokens.weight" : "lm_head.weight");
  if (quantization == "q4_0") return is_head ? "Q6_K" : "Q4_0";
  if (quantization == "q8_0") return "Q8_0";
  if (quantization == "q4_k_m") {
    const bool is_sensitive = name.find("v_proj") != std::string_view::npos ||
                              name.find("down_proj") != std::string_view::npos;
    if (is_head || (is_sensitive && NeedsMoreBits(LayerOf(name), layers))) return "Q6_K";
    return "Q4_K";
  }
  return quantization == "f32" ? "F32" : quantization == "f16" ? "F16" : "BF16";
}

}  // namespace

std::string GgufStorageFor(std::string_view quantization, const Weight& weight, int64_t layers,
                           bool tied_embeddings) {
  SOPHIA_CHECK(std::ranges::find(kQuantizations, quantization) != kQuantizations.end());
  if (weight.dims.size() < 2) return "F32";
  std::string_view storage = Wanted(quantization, weight.name, layers, tied_embeddings);
  while (!Fits(storage, weight.dims.back())) storage = Looser(storage);
  return std::string(storage);
}

}  // namespace sophia::merge
