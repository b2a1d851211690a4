#include "sophia/kernels/flash_attention.h"
#include "tests/kernels/kernel_case.h"

namespace sophia::kernels {
namespace {

// The segment of a token at a place of its sequence.
using SegmentOf = std::function<int64_t(int64_t place)>;

// Segments of `size` tokens from 0.
SegmentOf Every(int64_t size) {
  return [size](int64_t place) { return place / size; };
}

struct FlashCase {
  std::string name;  // tests/python/kernel_references.py knows the options by it
  Dims q = {1, 256, 2, 64};
  int64_t kv_heads = 2;
  DType dtype = DType::kF32;
  SegmentOf segment = {};  // null: no segments
  AttentionMask mask = {.scale = 0.125};
  FlashBlocks blocks = {.q = 128, .k = 128};
  std::optional<pallas::Chip> chip = std::nullopt;  // unless compiled for another
};

KernelCase CaseOf(const FlashCase& c) {
  Dims keys = c.q;
  keys[2] = c.kv_heads;
  KernelCase result{
      .name = "flash_" + c.name,
      .inputs = {{.shape = {c.dtype, c.q}, .differentiate = true},
                 {.shape = {c.dtype, keys}, .differentiate = true},
                 {.shape = {c.dtype, keys}, .differentiate = true}},
      .trace =
          [c](std::span<const Tensor> in, KernelTarget target) {
            AttentionMask mask = c.mask;
            if (in.size() > 3) mask.segments = in[3];
            if (!target.chip) target.chip = c.chip;
            return std::vector{FlashAttention(in[0], in[1], in[2], target, mask, c.blocks)};
          },
      .tolerance = c.dtype == DType::kBF16 ? 2e-2 : 1e-5};
  if (c.segment != nullptr) {
    const int64_t length = c.q[1];
    CaseInput segments{.shape = {DType::kS32, {c.q[0], length}}};
    segments.fill = [length, segment = c.segment](int64_t i, std::mt19937&) {
      return static_cast<double>(segment(i % length));
    };
    result.inputs.push_back(std::move(segments));
  }
  return result;
}

FlashCase With(FlashCase base, const std::function<void(FlashCase&)>& change) {
  change(base);
  return base;
}

}  // namespace

std::vector<KernelCase> AttentionCases() {
  constexpr int64_t kAll = 1 << 26;
  struct Blocked {
    std::string name;
    int64_t queries;
    SegmentOf segment;
    int64_t max_scores;
  };
  // 97 queries leave the last block with fewer than the others.
  const std::vector<Blocked> blocked = {{"attention_parts", 384, nullptr, kAll},
                                        {"attention_parts_segments", 384, Every(150), kAll},
                                        {"attention_in_blocks", 96, nullptr, 10000},
                                        {"attention_segments", 96, Every(40), 10000},
                                        {"attention_odd", 97, nullptr, 10000},
                                        {"attention_odd_segments", 97, Every(40), 10000}};
  std::vector<KernelCase> cases;
  for (const Blocked& b : blocked) {
    KernelCase test = CaseOf({.name = b.name, .q = {2, b.queries, 4, 16}, .segment = b.segment});
    test.name = b.name;
    test.trace = [most = b.max_scores](std::span<const Tensor> in, const KernelTarget& target) {
      const AttentionMask mask{
          .scale = 0.125, .soft_cap = 0.5, .segments = in.size() > 3 ? in[3] : Tensor()};
      return std::vector{ReferenceAttention(in[0], in[1], in[2], mask,
                                            target.mode == pallas::Mode::kReference ? kAll : most)};
    };
    cases.push_back(std::move(test));
  }
  return cases;
}

std::vector<KernelCase> FlashCases() {
  const std::vector<FlashCase> cases = {
      {.name = "causal"},
      With({.name = "all_keys"}, [](FlashCase& c) { c.mask.causal = false; }),
      {.name = "grouped", .q = {1, 128, 4, 64}, .kv_heads = 2},
      {.name = "one_kv_head", .q = {1, 128, 3, 64}, .kv_heads = 1},
      {.name = "one_token", .q = {1, 1, 1, 128}, .kv_heads = 1},
      {.name = "ragged", .q = {1, 200, 1, 64}, .kv_heads = 1},
      With({.name = "all_keys_ragged", .q = {1, 200, 1, 64}, .kv_heads = 1},
           [](FlashCase& c) { c.mask.causal = false; }),
      With({.name = "wide_keys", .q = {1, 512, 1, 64}, .kv_heads = 1},
           [](FlashCase& c) { c.blocks.k = 256; }),
      With({.name = "wide_queries", .q = {1, 512, 1, 64}, .kv_heads = 1},
           [](FlashCase& c) { c.blocks.q = 256; }),
      With({.name = "window", .q = {1, 512, 1, 64}, .kv_heads = 1},
           [](FlashCase& c) { c.mask.window = 100; }),
      // As in Gemma 3's local layers.
      With({.name = "window_segments_grouped",
            .q = {1, 384, 2, 64},
            .kv_heads = 1,
            .segment = [](int64_t place) { return place < 340 ? 1 + place / 150 : 0; }},
           [](FlashCase& c) { c.mask.window = 100; }),
      With({.name = "soft_cap"}, [](FlashCase& c) { c.mask.soft_cap = 0.5; }),
      With(
          {.name = "soft_cap_segments", .q = {1, 256, 1, 64}, .kv_heads = 1, .segment = Every(100)},
          [](FlashCase& c) { c.mask.soft_cap = 0.5; }),
      {.name = "segments", .q = {2, 256, 1, 64}, .kv_heads = 1, .segment = Every(100)},
      {.name = "segments_of_one", .q = {1, 384, 1, 64}, .kv_heads = 1, .segment = Every(1)},
      // As rows are packed: from 1, with padding.
      {.name = "segments_packed",
       .q = {2, 512, 1, 64},
       .kv_heads = 1,
       .segment = [](int64_t place) { return place < 400 ? 1 + place / 150 : 0; }},
      With({.name = "all_keys_segments_mixed",
            .q = {1, 384, 2, 64},
            .kv_heads = 1,
            .segment = [](int64_t place) { return place < 256 ? place * 7 % 3 : 3; },
            .blocks = {.q = 128, .k = 384}},
           [](FlashCase& c) { c.mask.causal = false; }),
      {.name = "head_80", .q = {1, 128, 1, 80}, .kv_heads = 1},
      {.name = "head_96", .q = {1, 128, 1, 96}, .kv_heads = 1},
      {.name = "head_256", .q = {1, 128, 1, 256}, .kv_heads = 1},
      {.name = "columns", .q = {1, 256, 4, 128}, .kv_heads = 2},
      {.name = "columns_ragged", .q = {2, 130, 2, 128}, .kv_heads = 1, .segment = Every(50)},
      {.name = "planned", .q = {1, 520, 1, 64}, .kv_heads = 1, .blocks = {}},
      {.name = "bf16", .dtype = DType::kBF16},
      {.name = "bf16_head_80", .q = {1, 136, 2, 80}, .kv_heads = 1, .dtype = DType::kBF16},
      {.name = "bf16_head_96", .q = {1, 128, 2, 96}, .dtype = DType::kBF16},
      {.name = "bf16_head_256", .q = {1, 136, 2, 256}, .kv_heads = 1, .dtype = DType::kBF16},
      {.name = "bf16_columns_segments",
       .q = {1, 384, 2, 128},
       .kv_heads = 1,
       .dtype = DType::kBF16,
       .segment = [](int64_t place) { return place < 340 ? 1 + place / 150 : 0; }},
      With({.name = "bf16_window_soft_cap",
            .q = {1, 384, 1, 64},
            .kv_heads = 1,
            .dtype = DType::kBF16},
           [](FlashCase& c) {
             c.mask.window = 100;
             c.mask.soft_cap = 0.5;
           }),
      {.name = "bf16_in_f32", .dtype = DType::kBF16, .chip = pallas::Chip::kV2},
  };
  std::vector<KernelCase> all;
  for (const FlashCase& c : cases) all.push_back(CaseOf(c));
  return all;
}

}  // namespace sophia::kernels
