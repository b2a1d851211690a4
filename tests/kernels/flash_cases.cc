#include "sophia/kernels/flash_attention.h"
#include "tests/kernels/kernel_case.h"

namespace sophia::kernels {
namespace {

struct FlashCase {
  std::string name;  // tests/python/kernel_references.py knows the options by it
  Dims q = {1, 2, 256, 64};
  int64_t kv_heads = 2;
  DType dtype = DType::kF32;
  // Tokens to a segment, the last one shorter; 0: no segments.
  int64_t segment = 0;
  FlashOptions options = {.scale = 0.125, .block_q = 128, .block_k = 128};
};

KernelCase CaseOf(const FlashCase& c) {
  Dims keys = c.q;
  keys[1] = c.kv_heads;
  KernelCase result{
      .name = "flash_" + c.name,
      .inputs = {{.shape = {c.dtype, c.q}, .differentiate = true},
                 {.shape = {c.dtype, keys}, .differentiate = true},
                 {.shape = {c.dtype, keys}, .differentiate = true}},
      .trace =
          [options = c.options](std::span<const Tensor> in, const KernelTarget& target) {
            const Tensor segments = in.size() > 3 ? in[3] : Tensor();
            return std::vector{FlashAttention(in[0], in[1], in[2], segments, target, options)};
          },
      .tolerance = c.dtype == DType::kBF16 ? 2e-2 : 1e-5,
      .from = c.dtype == DType::kBF16 ? pallas::Chip::kV4 : pallas::Chip::kV2};
  if (c.segment > 0) {
    const int64_t length = c.q[2];
    result.inputs.push_back({.shape = {DType::kS32, {c.q[0], length}},
                             .fill = [length, segment = c.segment](int64_t i, std::mt19937&) {
                               return static_cast<double>(i % length / segment);
                             }});
  }
  return result;
}

FlashCase With(FlashCase base, const std::function<void(FlashCase&)>& change) {
  change(base);
  return base;
}

}  // namespace

std::vector<KernelCase> FlashCases() {
  const std::vector<FlashCase> cases = {
      {.name = "causal"},
      With({.name = "all_keys"}, [](FlashCase& c) { c.options.causal = false; }),
      {.name = "grouped", .q = {2, 4, 128, 64}, .kv_heads = 2},
      {.name = "one_kv_head", .q = {1, 3, 128, 64}, .kv_heads = 1},
      {.name = "one_token", .q = {1, 1, 1, 128}, .kv_heads = 1},
      {.name = "ragged", .q = {1, 1, 200, 64}, .kv_heads = 1},
      With({.name = "all_keys_ragged", .q = {1, 1, 200, 64}, .kv_heads = 1},
           [](FlashCase& c) { c.options.causal = false; }),
      With({.name = "wide_keys", .q = {1, 1, 512, 64}, .kv_heads = 1},
           [](FlashCase& c) { c.options.block_k = 256; }),
      With({.name = "wide_queries", .q = {1, 1, 512, 64}, .kv_heads = 1},
           [](FlashCase& c) { c.options.block_q = 256; }),
      With({.name = "window", .q = {1, 1, 512, 64}, .kv_heads = 1},
           [](FlashCase& c) { c.options.window = 100; }),
      With({.name = "soft_cap"}, [](FlashCase& c) { c.options.soft_cap = 0.5; }),
      {.name = "segments", .q = {2, 2, 256, 64}, .segment = 100},
      {.name = "segments_of_one", .q = {1, 1, 128, 64}, .kv_heads = 1, .segment = 1},
      {.name = "head_80", .q = {1, 1, 128, 80}, .kv_heads = 1},
      {.name = "head_96", .q = {1, 1, 128, 96}, .kv_heads = 1},
      {.name = "head_256", .q = {1, 1, 128, 256}, .kv_heads = 1},
      {.name = "bf16", .dtype = DType::kBF16},
  };
  std::vector<KernelCase> all;
  for (const FlashCase& c : cases) all.push_back(CaseOf(c));
  return all;
}

}  // namespace sophia::kernels
