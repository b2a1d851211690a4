#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
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

KernelCase KeyCase() {
  const auto any = [](int64_t, std::mt19937& random) {
    return static_cast<double>(static_cast<int32_t>(random()));
  };
  return {.name = "dropout_key",
          .inputs = {{.shape = {DType::kS32, {2}}, .fill = any},
                     {.shape = {DType::kS32, {}}, .fill = any}},
          .trace =
              [](std::span<const Tensor> in, const KernelTarget&) {
                const Tensor words = Convert(BitcastConvert(in[0], DType::kU32), DType::kU64);
                const auto word = [&](int64_t i) {
                  return Reshape(SliceAxis(words, 0, i, i + 1), {});
                };
                return std::vector{DropoutKey(Or(ShiftLeft(word(0), 32.0), word(1)), in[1])};
              },
          .tolerance = 0};
}

}  // namespace

std::vector<KernelCase> DropoutCases() {
  return {CaseOf("half_many_columns", {DType::kF32, {3, 2300}}, {.rate = 0.5}),
          CaseOf("tenth", {DType::kF32, {2, 70, 256}}, {.rate = 0.1, .block_rows = 64}),
          CaseOf("tenth_one_row", {DType::kF32, {1, 576}}, {.rate = 0.1}),
          CaseOf("half_bf16", {DType::kBF16, {40, 192}}, {.rate = 0.5, .block_rows = 32}),
          CaseOf("none", {DType::kF32, {9, 128}}, {}),
          KeyCase()};
}

}  // namespace sophia::kernels
