#include "sophia/train/memory_policy.h"

#include <algorithm>
#include <map>
#include <optional>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/lora/lora.h"
#include "sophia/nn/attention.h"
#include "sophia/nn/layers.h"

namespace sophia::train {
namespace {

constexpr std::string_view kEverything = "everything";
constexpr std::string_view kProducts = "products";
constexpr std::string_view kLayers = "layers";
constexpr std::string_view kOffload = "offload";
constexpr std::string_view kPrefetch = "prefetch";
constexpr std::string_view kOffloadTables = "offload_tables";

[[noreturn]] void Refuse(const std::string& lever) {
  Fail("policy",
       "expected {}, {}, {}, names joined by + ({}), {}, {}, {}, every=K, tile=N, kv_heads=N or "
       "loss_chunk=N, separated by commas, or {} alone, got '{}'{}",
       kEverything, kProducts, kLayers, Join(SaveProducts().names, ", "), kOffload, kPrefetch,
       kOffloadTables, kAutoPolicy, lever,
       DidYouMean(lever, {std::string(kEverything), std::string(kProducts), std::string(kLayers),
                          std::string(kOffload), std::string(kPrefetch),
                          std::string(kOffloadTables), std::string(kAutoPolicy)}));
}

Remat RematFrom(const std::string& lever) {
  if (lever == kEverything) return Remat::Everything();
  if (lever == kProducts) return SaveProducts();
  if (lever == kLayers) return Remat::Nothing();
  const std::vector<std::string> known = SaveProducts().names;
  std::vector<std::string> names = Split(lever, '+');
  for (const std::string& name : names) {
    if (std::ranges::find(known, name) == known.end()) Refuse(lever);
  }
  return Remat::Named(std::move(names));
}

std::string NameOf(const Remat& remat) {
  switch (remat.keep) {
    case Remat::Keep::kEverything:
      return std::string(kEverything);
    case Remat::Keep::kNothing:
      return std::string(kLayers);
    case Remat::Keep::kNamed:
      break;
  }
  return remat.names == SaveProducts().names ? std::string(kProducts) : Join(remat.names, "+");
}

int64_t PositiveFrom(const std::string& text, const std::string& lever) {
  const auto value = NumberFromText<int64_t>(text);
  if (!value || *value < 1) {
    Fail("policy", "expected a whole number above 0 after '=', got '{}'", lever);
  }
  return *value;
}

}  // namespace

Remat SaveProducts() {
  return Remat::Named({nn::kSavedLinear, nn::kSavedAttention, lora::kSavedBranch});
}

MemoryPolicy MemoryPolicy::FromText(const std::string& text) {
  MemoryPolicy policy;
  nn::ActivationPolicy& activations = policy.activations;
  for (const std::string& part : Split(text, ',')) {
    const std::string lever(Trim(part));
    const size_t equals = lever.find('=');
    if (equals == std::string::npos) {
      const std::map<std::string_view, bool*> flags = {
          {kOffload, &activations.offloads_inputs},
          {kPrefetch, &activations.prefetches_inputs},
          {kOffloadTables, &activations.offloads_tables}};
      if (const auto flag = flags.find(lever); flag != flags.end()) {
        *flag->second = true;
      } else {
        activations.remat = RematFrom(lever);
      }
      continue;
    }
    const std::map<std::string, int64_t*, std::less<>> numbers = {
        {"every", &activations.layers_per_input},
        {"tile", &activations.tile},
        {"kv_heads", &activations.kv_heads},
        {"loss_chunk", &policy.loss_chunk}};
    const auto number = numbers.find(std::string_view(lever).substr(0, equals));
    if (number == numbers.end()) Refuse(lever);
    *number->second = PositiveFrom(lever.substr(equals + 1), lever);
  }
  if (activations.prefetches_inputs && !activations.offloads_inputs) {
    Fail("policy", "expected {} beside {}, which fetches what lies in the host's memory, got '{}'",
         kOffload, kPrefetch, text);
  }
  return policy;
}

std::string MemoryPolicy::ToString() const {
  std::string text = NameOf(activations.remat);
  if (activations.layers_per_input > 1) {
    text += fmt::format(",every={}", activations.layers_per_input);
  }
  if (activations.offloads_inputs) text += fmt::format(",{}", kOffload);
  if (activations.prefetches_inputs) text += fmt::format(",{}", kPrefetch);
  if (activations.offloads_tables) text += fmt::format(",{}", kOffloadTables);
  if (activations.tile > 0) text += fmt::format(",tile={}", activations.tile);
  if (activations.kv_heads > 0) text += fmt::format(",kv_heads={}", activations.kv_heads);
  if (loss_chunk != MemoryPolicy().loss_chunk) text += fmt::format(",loss_chunk={}", loss_chunk);
  return text;
}

std::vector<MemoryPolicy> PoliciesToTry(const models::ModelSizes& sizes, int64_t length,
                                        bool has_host) {
  std::vector<MemoryPolicy> policies;
  for (const char* text :
       {"products", "layers", "layers,tile=2048", "layers,offload,prefetch,tile=2048",
        "layers,offload,tile=2048", "layers,offload,tile=512", "layers,every=4,tile=2048",
        "layers,offload,tile=512,kv_heads=1"}) {
    MemoryPolicy policy = MemoryPolicy::FromText(text);
    nn::ActivationPolicy& keep = policy.activations;
    if (sizes.layers % keep.layers_per_input != 0 || (keep.offloads_inputs && !has_host)) continue;
    if (keep.tile >= length) keep.tile = 0;                  // one tile
    if (keep.kv_heads >= sizes.kv_heads) keep.kv_heads = 0;  // one group
    const auto is_same = [&](const MemoryPolicy& other) {
      return other.ToString() == policy.ToString();
    };
    if (std::ranges::none_of(policies, is_same)) policies.push_back(policy);
  }
  return policies;
}

}  // namespace sophia::train
