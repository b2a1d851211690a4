#include "sophia/kernels/adamw.h"

#include "sophia/base/error.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/kernels/adamw_step.h"
#include "sophia/kernels/row_blocks.h"

namespace sophia::kernels {
namespace {

using pallas::KernelRefs;
using pallas::Val;

// Results in the order of the kernel's.
std::vector<Tensor> Reference(std::span<const Tensor> in, const AdamWOptions& options) {
  const AdamWStep<Tensor> step(Convert(in[1], DType::kF32), Convert(in[2], DType::kF32),
                               Convert(in[3], DType::kF32), in[4], NumbersIn(in[0]), options);
  return {Convert(step.param, in[1].dtype()), Convert(step.mu, in[3].dtype()), step.nu};
}

}  // namespace

AdamWResult AdamW(const Tensor& param, const Tensor& grad, const Moments& moments,
                  const AdamWScalars& scalars, const KernelTarget& target,
                  const AdamWOptions& options) {
  CheckAdamWInputs(param, grad, scalars);
  for (const Tensor& moment : {moments.mu, moments.nu}) {
    const bool is_bf16_mean = moment == moments.mu && moment.dtype() == DType::kBF16;
    if (moment.dims() == param.dims() && (moment.dtype() == DType::kF32 || is_bf16_mean)) continue;
    Fail("adamw", "expected moments f32, mu also bf16, of the sizes of {}, got {}",
         ToString(param.shape()), ToString(moment.shape()));
  }
  const Dims dims = ParamRows(param.dims());
  const int64_t bytes = 2 * ByteSize(param.dtype(), 1) + ByteSize(grad.dtype(), 1) +
                        2 * ByteSize(moments.mu.dtype(), 1) + 2 * 4;
  const RowBlocks blocks =
      PlanRows("adamw", dims[0], dims[1], target, {.bytes = bytes, .rows = {options.block_rows}});
  pallas::KernelSpec spec =
      RowSpec("adamw", blocks, 4, {param.dtype(), moments.mu.dtype(), DType::kF32});
  spec.in_specs.insert(spec.in_specs.begin(), ScalarSpec());
  spec.input_output_aliases = {{1, 0}, {3, 1}, {4, 2}};
  const int64_t elements = dims[0] * dims[1];
  spec.cost_estimate = pallas::CostEstimate{
      .flops = 18 * elements, .transcendentals = elements, .bytes_accessed = bytes * elements};
  const auto body = [&](const KernelRefs& r) {
    const AdamWNumbers<Val> numbers = NumbersIn(r.in[0]);
    ForRowSteps(blocks, [&](const pallas::Ds& at) {
      const AdamWStep<Val> step(LoadRows(r.in[1], at), LoadRows(r.in[2], at), LoadRows(r.in[3], at),
                                LoadRows(r.in[4], at), numbers, options);
      StoreRows(r.out[0], at, step.param);
      StoreRows(r.out[1], at, step.mu);
      StoreRows(r.out[2], at, step.nu);
    });
  };
  pallas::CallOptions call = CallOf(target);
  call.reference = [options](std::span<const Tensor> in) { return Reference(in, options); };
  const std::vector<Tensor> out =
      pallas::PallasCall(spec, body,
                         {PackScalars(scalars), ToParamRows(param), ToParamRows(grad),
                          ToParamRows(moments.mu), ToParamRows(moments.nu)},
                         call);
  const auto back = [&](const Tensor& rows) { return FromParamRows(rows, param.dims()); };
  return {.param = back(out[0]), .moments = {.mu = back(out[1]), .nu = back(out[2])}};
}

}  // namespace sophia::kernels
