#include "sophia/kernels/rms_norm.h"
#include "tests/kernels/kernel_case.h"

namespace sophia::kernels {
namespace {

// tests/python/kernel_references.py knows eps by the function's name and the offset by the case's.
constexpr double kEps = 0.01;

KernelCase CaseOf(const std::string& name, const Shape& x, RmsNormOptions options) {
  options.eps = kEps;
  return {
      .name = "rmsnorm_" + name,
      .inputs = {{.shape = x, .differentiate = true},
                 {.shape = {x.dtype, {x.dims.back()}}, .differentiate = options.weight_gradient}},
      .trace =
          [options](std::span<const Tensor> in, const KernelTarget& target) {
            return std::vector{RmsNorm(in[0], in[1], target, options)};
          },
      .tolerance = x.dtype == DType::kBF16 ? 1e-2 : 1e-5};
}

KernelCase AddCaseOf(const std::string& name, const Shape& x, const RmsNormOptions& options) {
  KernelCase result = CaseOf("add" + name, x, options);
  result.inputs.insert(result.inputs.begin(), {.shape = x, .differentiate = true});
  result.trace = [options](std::span<const Tensor> in, const KernelTarget& target) {
    RmsNormOptions o = options;
    o.eps = kEps;
    const AddRmsNormOutput out = AddRmsNorm(in[0], in[1], in[2], target, o);
    return std::vector{out.normalised, out.sum};
  };
  return result;
}

}  // namespace

std::vector<KernelCase> RmsNormCases() {
  return {
      CaseOf("weight", {DType::kF32, {2, 20, 256}}, {.weight_gradient = true, .block_rows = 32}),
      CaseOf("frozen", {DType::kF32, {1, 40, 192}}, {.block_rows = 32}),
      CaseOf("one_row", {DType::kF32, {1, 576}}, {.weight_gradient = true}),
      CaseOf("offset", {DType::kF32, {64, 128}},
             {.weight_offset = 1, .weight_gradient = true, .block_rows = 32}),
      CaseOf("bf16", {DType::kBF16, {2, 24, 256}}, {.weight_gradient = true, .block_rows = 32}),
      AddCaseOf("", {DType::kF32, {2, 20, 256}}, {.block_rows = 16}),
      AddCaseOf("_weight", {DType::kF32, {5, 128}}, {.weight_gradient = true}),
      AddCaseOf("_offset_bf16", {DType::kBF16, {40, 128}},
                {.weight_offset = 1, .weight_gradient = true, .block_rows = 32})};
}

}  // namespace sophia::kernels
