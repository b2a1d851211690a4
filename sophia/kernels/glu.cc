#include "sophia/kernels/glu.h"

#include <numbers>

#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/kernels/row_blocks.h"

namespace sophia::kernels {
namespace {

using pallas::KernelRefs;
using pallas::Val;

constexpr double kRootTwoOverPi = 0.7978845608028654;
constexpr double kCubic = 0.044715;

// The formulas below are written once for values of kernels and tensors of the graph, in f32.

// erf(x) = sign(x) (1 - (a1 t + … + a5 t⁵) exp(-x²)), t = 1 / (1 + p |x|).
template <typename T>
T Erf(const T& x) {
  const T t = 1.0 / (1.0 + Abs(x) * 0.3275911);
  T series = t * 1.061405429 - 1.453152027;
  for (const double coefficient : {1.421413741, -0.284496736, 0.254829592}) {
    series = series * t + coefficient;
  }
  const T positive = 1.0 - series * t * Exp(-(x * x));
  return Select(Lt(x, 0.0), -positive, positive);
}

template <typename T>
T GeluTanh(const T& x) {
  return Tanh((x + x * x * x * kCubic) * kRootTwoOverPi);
}

template <typename T>
T Activate(Activation activation, const T& x) {
  switch (activation) {
    case Activation::kSilu:
      return x * Logistic(x);
    case Activation::kGeluTanh:
      return x * 0.5 * (GeluTanh(x) + 1.0);
    case Activation::kGelu:
      return x * 0.5 * (Erf(x * std::numbers::sqrt2 * 0.5) + 1.0);
  }
  return x;
}

// The derivative of Activate.
Val Slope(Activation activation, const Val& x) {
  switch (activation) {
    case Activation::kSilu: {
      const Val logistic = pallas::Logistic(x);
      return logistic * (1.0 + x * (1.0 - logistic));
    }
    case Activation::kGeluTanh: {
      const Val tanh = GeluTanh(x);
      const Val inner = (1.0 + x * x * (3 * kCubic)) * kRootTwoOverPi;
      return 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner;
    }
    case Activation::kGelu: {
      const Val density = pallas::Exp(x * x * -0.5) * (kRootTwoOverPi / 2);
      return 0.5 * (Erf(x * (std::numbers::sqrt2 / 2)) + 1.0) + x * density;
    }
  }
  return x;
}

std::vector<Tensor> Backward(const KernelTarget& target, const GluOptions& options,
                             std::span<const Tensor> in, const Tensor& grad) {
  const int64_t rows = in[0].dim(0);
  const int64_t columns = in[0].dim(1);
  const DType dtype = in[0].dtype();
  const RowBlocks blocks =
      PlanRows("glu_backward", rows, columns, target,
               {.bytes = 5 * ByteSize(dtype, 1), .rows = {options.block_rows}});
  pallas::KernelSpec spec = RowSpec("glu_backward", blocks, 3, {dtype, dtype});
  spec.cost_estimate = pallas::CostEstimate{.flops = 12 * rows * columns,
                                            .transcendentals = rows * columns,
                                            .bytes_accessed = 5 * in[0].shape().bytes()};
  const auto body = [&](const KernelRefs& r) {
    ForRowSteps(blocks, [&](const pallas::Ds& at) {
      const Val gate = LoadRows(r.in[0], at);
      const Val out = LoadRows(r.in[2], at);
      StoreRows(r.out[0], at, out * LoadRows(r.in[1], at) * Slope(options.activation, gate));
      StoreRows(r.out[1], at, out * Activate(options.activation, gate));
    });
  };
  return pallas::PallasCall(spec, body, {in[0], in[1], grad}, CallOf(target));
}

}  // namespace

Tensor GatedLinearUnit(const Tensor& gate, const Tensor& up, const KernelTarget& target,
                       const GluOptions& options) {
  CheckLike("glu", "up", up, gate);
  const Tensor rows = AsRows(gate);
  const DType dtype = gate.dtype();
  const RowBlocks blocks =
      PlanRows("glu", rows.dim(0), rows.dim(1), target,
               {.bytes = 3 * ByteSize(dtype, 1), .rows = {options.block_rows}});
  pallas::KernelSpec spec = RowSpec("glu", blocks, 2, {dtype});
  const int64_t elements = rows.shape().elements();
  spec.cost_estimate = pallas::CostEstimate{.flops = 4 * elements,
                                            .transcendentals = elements,
                                            .bytes_accessed = 3 * rows.shape().bytes()};
  const auto body = [&](const KernelRefs& r) {
    ForRowSteps(blocks, [&](const pallas::Ds& at) {
      const Val active = Activate(options.activation, LoadRows(r.in[0], at));
      StoreRows(r.out[0], at, active * LoadRows(r.in[1], at));
    });
  };
  const auto reference = [&](std::span<const Tensor> in) {
    const Tensor active = Activate(options.activation, Convert(in[0], DType::kF32));
    return std::vector{Convert(active * Convert(in[1], DType::kF32), dtype)};
  };
  const auto vjp = [target, options](std::span<const Tensor> in, std::span<const Tensor> grads) {
    return Backward(target, options, in, grads[0]);
  };
  pallas::CallOptions call = CallOf(target);
  call.reference = reference;
  call.vjp = vjp;
  const Tensor out = pallas::PallasCall(spec, body, {rows, AsRows(up)}, call)[0];
  return Reshape(out, gate.dims());
}

}  // namespace sophia::kernels
