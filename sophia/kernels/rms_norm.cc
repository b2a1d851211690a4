#include "sophia/kernels/rms_norm.h"

#include "sophia/base/error.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/kernels/row_blocks.h"

namespace sophia::kernels {
namespace {

using pallas::KernelRefs;
using pallas::Ref;
using pallas::Val;

// x, or x and the residual, as rows [N, D].
using Addends = std::vector<Tensor>;

pallas::CostEstimate Cost(const RowBlocks& blocks, int64_t flops, int64_t bytes) {
  const int64_t elements = blocks.rows * blocks.columns;
  return {.flops = flops * elements,
          .transcendentals = blocks.rows,
          .bytes_accessed = bytes * elements};
}

// The weight as a kernel takes it, and its operand's spec.
Tensor WeightRow(const Tensor& weight) {
  return Reshape(Convert(weight, DType::kF32), {1, weight.dim(0)});
}
Val ScaleOf(const Ref& weight, const RmsNormOptions& o) {
  return o.weight_offset == 0 ? weight.Load() : weight.Load() + o.weight_offset;
}
pallas::BlockSpec WholeRow(int64_t columns) { return {.block = {1, columns}}; }

Val InverseRoot(const Val& x, double eps) {
  const Val squares = pallas::Sum(x * x, {1}, {.keep_dims = true});
  return pallas::Rsqrt(squares * (1.0 / static_cast<double>(x.dim(1))) + eps);
}

// The normalised rows and, of two addends, their sum.
std::vector<Tensor> Forward(const Addends& addends, const Tensor& weight,
                            const KernelTarget& target, const RmsNormOptions& o) {
  const size_t count = addends.size();
  const DType dtype = addends[0].dtype();
  const int64_t bytes = 2 * static_cast<int64_t>(count) * ByteSize(dtype, 1);
  const std::string name = count == 2 ? "add_rms_norm" : "rms_norm";
  const RowBlocks blocks = PlanRows(name, addends[0].dim(0), addends[0].dim(1), target,
                                    {.bytes = bytes, .whole_rows = true, .rows = {o.block_rows}});
  pallas::KernelSpec spec = RowSpec(name, blocks, count, std::vector(count, dtype));
  spec.in_specs.push_back(WholeRow(blocks.columns));
  spec.cost_estimate = Cost(blocks, 4, bytes);
  const auto body = [&](const KernelRefs& r) {
    const Val scale = ScaleOf(r.in.back(), o);
    ForRowSteps(blocks, [&](const pallas::Ds& at) {
      Val x = LoadRows(r.in[0], at);
      if (count == 2) {
        const Val sum = pallas::Convert(x + LoadRows(r.in[1], at), dtype);
        r.out[1].At({at}).Store(sum);
        x = pallas::Convert(sum, DType::kF32);
      }
      StoreRows(r.out[0], at, x * InverseRoot(x, o.eps) * scale);
    });
  };
  std::vector<Tensor> inputs = addends;
  inputs.push_back(WeightRow(weight));
  return pallas::PallasCall(spec, body, inputs, CallOf(target));
}

// Which rows of a step are rows of the array: bool [step, columns].
Val Inside(const RowBlocks& blocks, const pallas::Ds& at) {
  return pallas::Iota({blocks.step, blocks.columns}, 0) + FirstRow(blocks, at) < blocks.rows;
}

// Gradients of x and, if asked for, of the weight: [N, D] and f32 [D]. `sum_grad` is undefined
// without a residual.
std::vector<Tensor> Backward(const Tensor& x, const Tensor& weight, const Tensor& grad,
                             const Tensor& sum_grad, const KernelTarget& target,
                             const RmsNormOptions& o) {
  const size_t count = sum_grad.defined() ? 3 : 2;
  const int64_t bytes = (static_cast<int64_t>(count) + 1) * ByteSize(x.dtype(), 1);
  const std::string name = count == 3 ? "add_rms_norm_backward" : "rms_norm_backward";
  const RowBlocks blocks = PlanRows(name, x.dim(0), x.dim(1), target,
                                    {.bytes = bytes, .whole_rows = true, .rows = {o.block_rows}});
  pallas::KernelSpec spec = RowSpec(name, blocks, count, {x.dtype()});
  spec.in_specs.push_back(WholeRow(blocks.columns));
  spec.cost_estimate = Cost(blocks, 9, bytes);
  if (o.weight_gradient) {
    spec.out_shapes.push_back({DType::kF32, {blocks.grid()[0], 1, blocks.columns}});
    spec.out_specs.push_back(
        {.block = {1, 1, blocks.columns}, .index_map = [](const pallas::GridIndex& i) {
           return pallas::BlockIndex{i[0], 0, 0};
         }});
  }
  const auto body = [&](const KernelRefs& r) {
    const Val scale = ScaleOf(r.in.back(), o);
    if (o.weight_gradient) r.out[1].Store(0.0);
    ForRowSteps(blocks, [&](const pallas::Ds& at) {
      const Val rows = LoadRows(r.in[0], at);
      const Val inverse = InverseRoot(rows, o.eps);
      const Val normal = rows * inverse;
      const Val out = LoadRows(r.in[1], at);
      const Val scaled = out * scale;
      const Val mean = pallas::Sum(scaled * normal, {1}, {.keep_dims = true}) *
                       (1.0 / static_cast<double>(blocks.columns));
      Val dx = (scaled - normal * mean) * inverse;
      if (count == 3) dx = dx + LoadRows(r.in[2], at);
      StoreRows(r.out[0], at, dx);
      if (!o.weight_gradient) return;
      Val product = out * normal;
      if (blocks.rows % blocks.block_rows != 0) {
        product = pallas::Select(Inside(blocks, at), product, 0.0);
      }
      const Ref sums = r.out[1].At({0});
      sums.Store(sums.Load() + pallas::Sum(product, {0}, {.keep_dims = true}));
    });
  };
  std::vector<Tensor> inputs = {x, grad};
  if (sum_grad.defined()) inputs.push_back(sum_grad);
  inputs.push_back(WeightRow(weight));
  std::vector<Tensor> grads = pallas::PallasCall(spec, body, inputs, CallOf(target));
  if (o.weight_gradient) grads[1] = Sum(grads[1], Dims{0, 1});
  return grads;
}

std::vector<Tensor> Reference(const Addends& addends, const Tensor& weight,
                              const RmsNormOptions& o) {
  const DType dtype = addends[0].dtype();
  const Tensor sum = addends.size() == 2 ? addends[0] + addends[1] : addends[0];
  const Tensor x = Convert(sum, DType::kF32);
  const Tensor scale =
      WeightRow(o.weight_gradient ? weight : StopGradient(weight)) + o.weight_offset;
  const Tensor root = Rsqrt(Mean(x * x, {-1}, {.keep_dims = true}) + o.eps);
  return {Convert(x * root * scale, dtype), sum};
}

// The normalised rows and their sum, in the shape of the addends.
std::vector<Tensor> Normalise(const Addends& addends, const Tensor& weight,
                              const KernelTarget& target, const RmsNormOptions& o) {
  const Dims dims = addends[0].dims();
  if (weight.dims() != Dims{dims.back()}) {
    Fail("rms_norm", "expected a weight [{}], got {}", dims.back(), ToString(weight.shape()));
  }
  const size_t count = addends.size();
  std::vector<Tensor> primals;
  for (const Tensor& addend : addends) primals.push_back(AsRows(addend));
  std::vector<Tensor> results;
  if (target.mode == pallas::Mode::kReference) {
    results = Reference(primals, weight, o);
  } else {
    primals.push_back(weight);
    results = CustomVjp(
        primals,
        [&](std::span<const Tensor> p) -> CustomVjpOutput {
          const Addends rows(p.begin(), p.begin() + static_cast<int64_t>(count));
          std::vector<Tensor> outputs = Forward(rows, p[count], target, o);
          const Tensor sum = count == 2 ? outputs[1] : p[0];
          return {.outputs = std::move(outputs), .residuals = {sum, p[count]}};
        },
        [target, o, count](std::span<const Tensor> saved, std::span<const Tensor> grads) {
          const std::vector<Tensor> found =
              Backward(saved[0], saved[1], grads[0], count == 2 ? grads[1] : Tensor(), target, o);
          std::vector<Tensor> cotangents(count, found[0]);
          cotangents.push_back(o.weight_gradient ? Convert(found[1], saved[1].dtype()) : Tensor());
          return cotangents;
        });
  }
  for (Tensor& result : results) result = Reshape(result, dims);
  return results;
}

}  // namespace

Tensor RmsNorm(const Tensor& x, const Tensor& weight, const KernelTarget& target,
               const RmsNormOptions& options) {
  return Normalise({x}, weight, target, options)[0];
}

AddRmsNormOutput AddRmsNorm(const Tensor& x, const Tensor& residual, const Tensor& weight,
                            const KernelTarget& target, const RmsNormOptions& options) {
  CheckLike("rms_norm", "the residual", residual, x);
  const std::vector<Tensor> results = Normalise({x, residual}, weight, target, options);
  return {results[0], results[1]};
}

}  // namespace sophia::kernels
