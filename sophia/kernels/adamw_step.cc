#include "sophia/kernels/adamw_step.h"

#include <numeric>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/kernels/row_blocks.h"

namespace sophia::kernels {
namespace {

bool SwapsLast(const Dims& dims) {
  const size_t rank = dims.size();
  return rank >= 2 && dims[rank - 1] < kLanes && dims[rank - 1] < dims[rank - 2];
}

Tensor SwapLast(const Tensor& x) {
  Dims permutation(static_cast<size_t>(x.rank()));
  std::iota(permutation.begin(), permutation.end(), 0);
  std::swap(permutation.end()[-1], permutation.end()[-2]);
  return Transpose(x, permutation);
}

}  // namespace

Dims ParamRows(const Dims& param) {
  if (param.size() < 2) return {1, Product(param)};
  const int64_t columns = SwapsLast(param) ? param[param.size() - 2] : param.back();
  return {Product(param) / columns, columns};
}

Tensor ToParamRows(const Tensor& x) {
  return Reshape(SwapsLast(x.dims()) ? SwapLast(x) : x, ParamRows(x.dims()));
}

Tensor FromParamRows(const Tensor& rows, const Dims& dims) {
  if (!SwapsLast(dims)) return Reshape(rows, dims);
  Dims swapped = dims;
  std::swap(swapped.end()[-1], swapped.end()[-2]);
  return SwapLast(Reshape(rows, swapped));
}

Tensor PackScalars(const AdamWScalars& scalars) {
  std::vector<Tensor> parts;
  for (const Tensor& scalar : {scalars.grad_factor, scalars.correction1, scalars.root_correction2,
                               -scalars.learning_rate}) {
    parts.push_back(Reshape(scalar, {1, 1}));
  }
  return Concatenate(parts, 1);
}

pallas::BlockSpec ScalarSpec() { return {.block = {1, 4}, .space = pallas::MemorySpace::kSmem}; }

AdamWNumbers<Tensor> NumbersIn(const Tensor& packed) {
  const auto at = [&](int64_t i) { return Reshape(SliceAxis(packed, 1, i, i + 1), {}); };
  return {at(0), at(1), at(2), at(3)};
}

AdamWNumbers<pallas::Val> NumbersIn(const pallas::Ref& packed) {
  const auto at = [&](int64_t i) { return packed.At({0, i}).Load(); };
  return {at(0), at(1), at(2), at(3)};
}

void CheckAdamWInputs(const Tensor& param, const Tensor& grad, const AdamWScalars& scalars) {
  if (param.dtype() != DType::kF32 && param.dtype() != DType::kBF16) {
    Fail("adamw", "expected a parameter of f32 or bf16, got {}", ToString(param.shape()));
  }
  if (grad.dims() != param.dims() || !IsFloat(grad.dtype())) {
    Fail("adamw", "expected a gradient of the sizes of {}, got {}", ToString(param.shape()),
         ToString(grad.shape()));
  }
  for (const Tensor& scalar : {scalars.grad_factor, scalars.correction1, scalars.root_correction2,
                               scalars.learning_rate}) {
    if (scalar.shape() == Shape{DType::kF32, {}}) continue;
    Fail("adamw", "expected scalars f32[], got {}", ToString(scalar.shape()));
  }
}

}  // namespace sophia::kernels
