#include <array>
#include <cmath>

#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/kernels/adamw.h"
#include "tests/kernels/kernel_case.h"

namespace sophia::kernels {
namespace {

// As tests/python/kernel_references.py has them.
constexpr AdamWOptions kOptions{.b1 = 0.8, .b2 = 0.95, .eps = 1e-6, .weight_decay = 0.3};
constexpr int kStep = 3;
constexpr double kGradFactor = 0.5;
constexpr double kLearningRate = 0.02;

double Uniform(std::mt19937& random, double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(random);
}

// Gradients over several decades, some of them zero.
double DrawGradient(int64_t i, std::mt19937& random) {
  const double size = std::pow(10.0, Uniform(random, -4, 0));
  return i % 17 == 0 ? 0 : random() % 2 == 0 ? size : -size;
}
double DrawSquare(int64_t /*i*/, std::mt19937& random) {
  return std::pow(10.0, Uniform(random, -6, 0));
}
double DrawScale(int64_t /*i*/, std::mt19937& random) { return Uniform(random, 0.2, 1); }
double DrawCode(int64_t /*i*/, std::mt19937& random) { return random() % 256; }

CaseInput Numbers() {
  return {.shape = {DType::kF32, {4}}, .fill = [](int64_t i, std::mt19937&) {
            return std::array{kGradFactor, 1 - std::pow(kOptions.b1, kStep),
                              std::sqrt(1 - std::pow(kOptions.b2, kStep)),
                              kLearningRate}[static_cast<size_t>(i)];
          }};
}

AdamWScalars ScalarsOf(const Tensor& numbers) {
  const auto at = [&](int64_t i) { return Reshape(SliceAxis(numbers, 0, i, i + 1), {}); };
  return {at(0), at(1), at(2), at(3)};
}

KernelCase CaseOf(const std::string& name, const Shape& param, int64_t block_rows = 0,
                  DType mean = DType::kF32) {
  return {.name = "adamw_" + name,
          .inputs = {Numbers(),
                     {.shape = param},
                     {.shape = {DType::kF32, param.dims}, .fill = DrawGradient},
                     {.shape = {mean, param.dims}},
                     {.shape = {DType::kF32, param.dims}, .fill = DrawSquare}},
          .trace =
              [block_rows](std::span<const Tensor> in, const KernelTarget& target) {
                AdamWOptions options = kOptions;
                options.block_rows = block_rows;
                const AdamWResult out =
                    AdamW(in[1], in[2], {in[3], in[4]}, ScalarsOf(in[0]), target, options);
                return std::vector{out.param, out.moments.mu, out.moments.nu};
              },
          .tolerance = param.dtype == DType::kBF16 || mean == DType::kBF16 ? 5e-3 : 2e-6};
}

KernelCase CodesCaseOf(const std::string& name, const Shape& param, bool is_first = false) {
  const auto zeros = [](double zero) { return [zero](int64_t, std::mt19937&) { return zero; }; };
  const Shape codes = MomentCodes(param.dims);
  const Shape absmax = MomentAbsmax(param.dims);
  KernelCase result{.name = "adamw_8bit_" + name,
                    .inputs = {Numbers(),
                               {.shape = param},
                               {.shape = {DType::kF32, param.dims}, .fill = DrawGradient},
                               {.shape = codes, .fill = DrawCode},
                               {.shape = absmax, .fill = DrawScale},
                               {.shape = codes, .fill = DrawCode},
                               {.shape = absmax, .fill = DrawScale}},
                    .trace =
                        [](std::span<const Tensor> in, const KernelTarget& target) {
                          const AdamW8BitResult out =
                              AdamW8Bit(in[1], in[2], {in[3], in[4], in[5], in[6]},
                                        ScalarsOf(in[0]), target, kOptions);
                          return std::vector{out.param, out.moments.mu, out.moments.mu_absmax,
                                             out.moments.nu, out.moments.nu_absmax};
                        },
                    .tolerance = param.dtype == DType::kBF16 ? 5e-3 : 2e-6};
  if (is_first) {
    result.inputs[3].fill = zeros(kCodeOfZeroMean);
    result.inputs[5].fill = zeros(kCodeOfZeroSquare);
    result.inputs[4].fill = result.inputs[6].fill = zeros(0);
  }
  return result;
}

}  // namespace

std::vector<KernelCase> AdamWCases() {
  return {CaseOf("rows", {DType::kF32, {2, 24, 256}}, 16),
          CaseOf("swapped", {DType::kF32, {2, 200, 8}}),
          CaseOf("many_columns", {DType::kF32, {17, 2112}}),
          CaseOf("vector", {DType::kF32, {300}}),
          CaseOf("scalar", {DType::kF32, {}}),
          CaseOf("bf16", {DType::kBF16, {3, 15, 192}}, 16),
          CaseOf("mean_bf16", {DType::kF32, {2, 200, 32}}, 16, DType::kBF16),
          CodesCaseOf("blocks", {DType::kF32, {2, 150, 160}}),
          CodesCaseOf("swapped", {DType::kF32, {3, 200, 16}}),
          CodesCaseOf("many_columns", {DType::kF32, {20, 640}}),
          CodesCaseOf("bf16", {DType::kBF16, {40, 128}}),
          CodesCaseOf("first", {DType::kF32, {4, 16, 128}}, true)};
}

}  // namespace sophia::kernels
