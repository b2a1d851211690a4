#include "sophia/kernels/dropout.h"
#include "tests/kernels/kernel_case.h"

namespace sophia::kernels {
namespace {

// tests/python/kernel_references.py knows the rate by the name. Not one element may differ.
KernelCase CaseOf(const std::string& name, const Shape& x, const DropoutOptions& options) {
  return {.name = "dropout_" + name,
          .inputs = {{.shape = x, .differentiate = true},
                     {.shape = {DType::kS32, {2}},
                      .fill =
                          [](int64_t, std::mt19937& random) {
                            return static_cast<double>(static_cast<int32_t>(random()));
                          }}},
          .trace =
              [options](std::span<const Tensor> in, const KernelTarget& target) {
                return std::vector{Dropout(in[0], in[1], target, options)};
              },
          .tolerance = 0};
}

}  // namespace

std::vector<KernelCase> DropoutCases() {
  return {CaseOf("half_many_columns", {DType::kF32, {3, 2300}}, {.rate = 0.5}),
          CaseOf("tenth", {DType::kF32, {2, 70, 256}}, {.rate = 0.1, .block_rows = 64}),
          CaseOf("tenth_one_row", {DType::kF32, {1, 576}}, {.rate = 0.1}),
          CaseOf("half_bf16", {DType::kBF16, {40, 192}}, {.rate = 0.5, .block_rows = 32}),
          CaseOf("none", {DType::kF32, {9, 128}}, {})};
}

}  // namespace sophia::kernels
