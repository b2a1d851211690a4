#include "sophia/kernels/glu.h"
#include "tests/kernels/kernel_case.h"

namespace sophia::kernels {
namespace {

// tests/python/kernel_references.py knows the options by the name.
KernelCase CaseOf(const std::string& name, const Shape& shape, const GluOptions& options) {
  return {
      .name = "glu_" + name,
      .inputs = {{.shape = shape, .differentiate = true}, {.shape = shape, .differentiate = true}},
      .trace =
          [options](std::span<const Tensor> in, const KernelTarget& target) {
            return std::vector{GatedLinearUnit(in[0], in[1], target, options)};
          },
      .tolerance = shape.dtype == DType::kBF16 ? 1e-2 : 1e-5};
}

}  // namespace

std::vector<KernelCase> GluCases() {
  const Shape shape{DType::kF32, {2, 20, 256}};
  return {
      CaseOf("silu", shape, {.block_rows = 16}),
      CaseOf("silu_one_row", {DType::kF32, {1, 200}}, {}),
      CaseOf("silu_many_columns", {DType::kF32, {17, 2112}}, {}),
      CaseOf("silu_two_steps", {DType::kF32, {40, 128}}, {.block_rows = 32}),
      CaseOf("silu_bf16", {DType::kBF16, {3, 15, 192}}, {.block_rows = 16}),
      CaseOf("gelu", shape, {.activation = Activation::kGelu}),
      CaseOf("gelu_bf16", {DType::kBF16, {40, 128}}, {.activation = Activation::kGelu}),
      CaseOf("gelu_tanh", shape, {.activation = Activation::kGeluTanh, .block_rows = 16}),
      CaseOf("gelu_tanh_bf16", {DType::kBF16, {1, 576}}, {.activation = Activation::kGeluTanh})};
}

}  // namespace sophia::kernels
