#include "sophia/kernels/linear_cross_entropy.h"
#include "tests/kernels/kernel_case.h"

namespace sophia::kernels {
namespace {

struct CrossEntropyCase {
  std::string name;  // tests/python/kernel_references.py knows the options by it
  int64_t tokens = 200;
  int64_t size = 64;
  int64_t vocab = 384;
  DType hidden = DType::kF32;
  DType head = DType::kF32;
  double soft_cap = 0;
  int64_t ignored = 5;  // labels at multiples of it are ignored; 0: none
  double tolerance = 1e-5;
  std::optional<pallas::Chip> chip = std::nullopt;  // unless compiled for another
};

KernelCase CaseOf(const CrossEntropyCase& c) {
  const auto label = [ignored = c.ignored, vocab = c.vocab](int64_t i, std::mt19937& random) {
    const bool is_ignored = ignored > 0 && i % ignored == 0;
    const auto drawn = static_cast<int64_t>(random() % static_cast<uint32_t>(vocab));
    return static_cast<double>(is_ignored ? kIgnoredLabel : i == 1 ? vocab - 1 : drawn);
  };
  // Logits of about standard deviation 2.
  const auto state = [deviation = 2 / std::sqrt(static_cast<double>(c.size))](
                         int64_t, std::mt19937& random) {
    return std::normal_distribution<double>(0, deviation)(random);
  };
  KernelCase result{
      .name = "linear_cross_entropy_" + c.name,
      .inputs = {{.shape = {c.hidden, {c.tokens, c.size}}, .differentiate = true, .fill = state},
                 {.shape = {c.head, {c.vocab, c.size}}, .differentiate = c.head != DType::kS8},
                 {.shape = {DType::kS32, {c.tokens}}, .fill = label}},
      .trace =
          [soft_cap = c.soft_cap, chip = c.chip](std::span<const Tensor> in, KernelTarget target) {
            if (!target.chip) target.chip = chip;
            const LinearCrossEntropyOptions options{.head_scale = in.size() > 3 ? in[3] : Tensor(),
                                                    .soft_cap = soft_cap,
                                                    .chunk = 64,
                                                    .forward = {.tokens = 128, .vocab = 128},
                                                    .backward = {.tokens = 128, .vocab = 256}};
            return std::vector{LinearCrossEntropy(in[0], in[1], in[2], target, options)};
          },
      .tolerance = c.tolerance};
  if (c.head == DType::kS8) {
    result.inputs[1].fill = [](int64_t, std::mt19937& random) {
      return static_cast<double>(random() % 255) - 127;
    };
    result.inputs.push_back(
        {.shape = {DType::kF32, {c.vocab}}, .fill = [](int64_t i, std::mt19937&) {
           return 0.01 + 0.001 * static_cast<double>(i % 7);
         }});
  }
  return result;
}

}  // namespace

std::vector<KernelCase> LinearCrossEntropyCases() {
  constexpr DType kBF16 = DType::kBF16;
  const std::vector<CrossEntropyCase> cases = {
      {.name = "plain"},
      {.name = "no_label_ignored", .tokens = 256, .ignored = 0},
      {.name = "all_ignored", .tokens = 128, .ignored = 1},
      {.name = "one_token", .tokens = 1, .ignored = 0},
      {.name = "ragged_vocab", .vocab = 300},
      {.name = "small_vocab", .tokens = 130, .vocab = 11},
      {.name = "wide", .tokens = 128, .size = 1152, .vocab = 256},
      {.name = "soft_cap", .vocab = 300, .soft_cap = 5},
      {.name = "s8_head", .vocab = 300, .head = DType::kS8},
      {.name = "s8_head_soft_cap", .tokens = 128, .head = DType::kS8, .soft_cap = 5},
      {.name = "bf16", .vocab = 300, .hidden = kBF16, .head = kBF16, .tolerance = 2e-2},
      {.name = "bf16_s8_head",
       .tokens = 128,
       .vocab = 300,
       .hidden = kBF16,
       .head = DType::kS8,
       .tolerance = 2e-2},
      {.name = "bf16_in_f32",
       .tokens = 130,
       .vocab = 300,
       .hidden = kBF16,
       .head = kBF16,
       .tolerance = 2e-2,
       .chip = pallas::Chip::kV2},
      {.name = "s8_head_in_f32",
       .tokens = 128,
       .vocab = 300,
       .hidden = kBF16,
       .head = DType::kS8,
       .tolerance = 2e-2,
       .chip = pallas::Chip::kV3},
  };
  std::vector<KernelCase> all;
  for (const CrossEntropyCase& c : cases) all.push_back(CaseOf(c));
  return all;
}

}  // namespace sophia::kernels
