#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/kernels/adamw.h"
#include "sophia/kernels/adamw_step.h"
#include "sophia/kernels/dynamic_map.h"
#include "sophia/kernels/row_blocks.h"

namespace sophia::kernels {
namespace {

using pallas::KernelRefs;
using pallas::Ref;
using pallas::Val;

constexpr int64_t kStep = 32;  // rows of a tile of bytes
constexpr int64_t kMostColumns = 512;
// Blocks of smaller magnitudes, which f32 does not hold in full, become zero.
constexpr double kSmallestScale = 1.1754943508222875e-38;

template <typename T>
T InF32(const T& codes) {
  return Convert(Convert(codes, DType::kS32), DType::kF32);
}
template <typename T>
T AsCode(const T& place) {
  return Convert(Convert(place, DType::kS32), DType::kU8);
}

template <typename T>
T MeanOf(const T& codes, const T& absmax) {
  const T place = InF32(codes) - static_cast<double>(kCodeOfZeroMean);
  const T magnitude = ValueAt(kSignedMap, Abs(place)) * absmax;
  return Select(Lt(place, 0.0), -magnitude, magnitude);
}
template <typename T>
T SquareOf(const T& codes, const T& absmax) {
  return ValueAt(kUnsignedMap, InF32(codes) + 1.0) * absmax;
}

// No code stands for minus one.
template <typename T>
T CodesOfMean(const T& mu, const T& inverse) {
  const T place = NearestPlace(kSignedMap, Abs(mu) * inverse);
  const T negative = -Min(place, kSignedMap.one() - 1);
  return AsCode(Select(Lt(mu, 0.0), negative, place) + static_cast<double>(kCodeOfZeroMean));
}
template <typename T>
T CodesOfSquare(const T& nu, const T& inverse) {
  return AsCode(NearestPlace(kUnsignedMap, nu * inverse) - 1.0);
}

template <typename T>
T InverseOf(const T& absmax) {
  return 1.0 / Max(absmax, kSmallestScale);
}

// The largest magnitudes of blocks of rows [R, C], f32 [blocks, 1, C], and such numbers for every
// element of a block.
Tensor BlockMax(const Tensor& rows) {
  const int64_t blocks = CeilDiv(rows.dim(0), kMomentBlock);
  const Tensor full = PadEnd(Abs(rows), 0, blocks * kMomentBlock);
  return ReduceMax(Reshape(full, {blocks, kMomentBlock, rows.dim(1)}), {1}, {.keep_dims = true});
}
Tensor OverBlocks(const Tensor& of_blocks, int64_t rows) {
  const int64_t blocks = of_blocks.dim(0);
  const int64_t columns = of_blocks.dim(2);
  const Tensor wide = BroadcastTo(of_blocks, {blocks, kMomentBlock, columns});
  return SliceAxis(Reshape(wide, {blocks * kMomentBlock, columns}), 0, 0, rows);
}

// Results in the order of the kernel's.
std::vector<Tensor> Reference(std::span<const Tensor> in, const AdamWOptions& options) {
  const int64_t rows = in[1].dim(0);
  const AdamWStep<Tensor> step(Convert(in[1], DType::kF32), Convert(in[2], DType::kF32),
                               MeanOf(in[3], OverBlocks(in[4], rows)),
                               SquareOf(in[5], OverBlocks(in[6], rows)), NumbersIn(in[0]), options);
  const Tensor mu_absmax = BlockMax(step.mu);
  const Tensor nu_absmax = BlockMax(step.nu);
  return {Convert(step.param, in[1].dtype()),
          CodesOfMean(step.mu, OverBlocks(InverseOf(mu_absmax), rows)), mu_absmax,
          CodesOfSquare(step.nu, OverBlocks(InverseOf(nu_absmax), rows)), nu_absmax};
}

RowBlocks PlanBlocks(const Dims& rows) {
  const int64_t count = CeilDiv(rows[1], kMostColumns);
  const int64_t columns = RoundUp(CeilDiv(rows[1], count), kLanes);
  return {.rows = rows[0],
          .columns = rows[1],
          .block_rows = std::min(kMomentBlock, RoundUp(rows[0], kStep)),
          .block_columns = count == 1 ? rows[1] : columns,
          .step = kStep};
}

void Body(const RowBlocks& blocks, const AdamWOptions& options, const KernelRefs& r) {
  const AdamWNumbers<Val> numbers = NumbersIn(r.in[0]);
  const Ref &new_mu = r.scratch[0], &new_nu = r.scratch[1];
  const Ref mu_absmax = r.out[2].At({0}), nu_absmax = r.out[4].At({0});
  const Val old_mu_absmax = r.in[4].At({0}).Load();
  const Val old_nu_absmax = r.in[6].At({0}).Load();
  mu_absmax.Store(0.0);
  nu_absmax.Store(0.0);
  const auto enlarge = [&](const Ref& absmax, Val magnitude, const pallas::Ds& at) {
    if (blocks.rows % blocks.block_rows != 0) {
      const Val row = pallas::Iota(magnitude.dims(), 0) + FirstRow(blocks, at);
      magnitude = pallas::Select(row < blocks.rows, magnitude, 0.0);
    }
    const Val largest = pallas::ReduceMax(magnitude, {0}, {.keep_dims = true});
    absmax.Store(pallas::Max(absmax.Load(), largest));
  };
  ForRowSteps(blocks, [&](const pallas::Ds& at) {
    const AdamWStep<Val> step(LoadRows(r.in[1], at), LoadRows(r.in[2], at),
                              MeanOf(r.in[3].At({at}).Load(), old_mu_absmax),
                              SquareOf(r.in[5].At({at}).Load(), old_nu_absmax), numbers, options);
    StoreRows(r.out[0], at, step.param);
    new_mu.At({at}).Store(step.mu);
    new_nu.At({at}).Store(step.nu);
    enlarge(mu_absmax, pallas::Abs(step.mu), at);
    enlarge(nu_absmax, step.nu, at);
  });
  const Val mu_inverse = InverseOf(mu_absmax.Load());
  const Val nu_inverse = InverseOf(nu_absmax.Load());
  ForRowSteps(blocks, [&](const pallas::Ds& at) {
    r.out[1].At({at}).Store(CodesOfMean(new_mu.At({at}).Load(), mu_inverse));
    r.out[3].At({at}).Store(CodesOfSquare(new_nu.At({at}).Load(), nu_inverse));
  });
}

void CheckMoments(const Moments8Bit& moments, const Dims& dims) {
  const auto check = [](const char* name, const Tensor& x, const Shape& shape) {
    if (x.shape() == shape) return;
    Fail("adamw_8bit", "expected {} as {}, got {}", name, ToString(shape), ToString(x.shape()));
  };
  check("mu", moments.mu, MomentCodes(dims));
  check("mu_absmax", moments.mu_absmax, MomentAbsmax(dims));
  check("nu", moments.nu, MomentCodes(dims));
  check("nu_absmax", moments.nu_absmax, MomentAbsmax(dims));
}

}  // namespace

Shape MomentCodes(const Dims& param) { return {DType::kU8, ParamRows(param)}; }

Shape MomentAbsmax(const Dims& param) {
  const Dims rows = ParamRows(param);
  return {DType::kF32, {CeilDiv(rows[0], kMomentBlock), 1, rows[1]}};
}

AdamW8BitResult AdamW8Bit(const Tensor& param, const Tensor& grad, const Moments8Bit& moments,
                          const AdamWScalars& scalars, const KernelTarget& target,
                          const AdamWOptions& options) {
  CheckAdamWInputs(param, grad, scalars);
  CheckMoments(moments, param.dims());
  const RowBlocks blocks = PlanBlocks(ParamRows(param.dims()));
  const int64_t elements = blocks.rows * blocks.columns;
  const pallas::BlockSpec absmax{.block = {1, 1, blocks.block_columns},
                                 .index_map = [](const pallas::GridIndex& i) {
                                   return pallas::BlockIndex{i[0], 0, i[1]};
                                 }};
  pallas::KernelSpec spec = RowSpec("adamw_8bit", blocks, 0, {});
  const pallas::BlockSpec rows = blocks.spec();
  spec.in_specs = {ScalarSpec(), rows, rows, rows, absmax, rows, absmax};
  spec.out_specs = {rows, rows, absmax, rows, absmax};
  const Shape codes_shape = MomentCodes(param.dims());
  const Shape absmax_shape = MomentAbsmax(param.dims());
  spec.out_shapes = {
      {param.dtype(), codes_shape.dims}, codes_shape, absmax_shape, codes_shape, absmax_shape};
  spec.scratch_shapes = {pallas::Vmem(DType::kF32, blocks.block()),
                         pallas::Vmem(DType::kF32, blocks.block())};
  spec.input_output_aliases = {{1, 0}, {3, 1}, {4, 2}, {5, 3}, {6, 4}};
  const int64_t bytes = 2 * ByteSize(param.dtype(), 1) + ByteSize(grad.dtype(), 1) + 4;
  spec.cost_estimate =
      pallas::CostEstimate{.flops = 150 * elements,
                           .transcendentals = elements,
                           .bytes_accessed = bytes * elements + 4 * absmax_shape.bytes()};
  pallas::CallOptions call = CallOf(target);
  call.reference = [options](std::span<const Tensor> in) { return Reference(in, options); };
  const std::vector<Tensor> out = pallas::PallasCall(
      spec, [&](const KernelRefs& r) { Body(blocks, options, r); },
      {PackScalars(scalars), ToParamRows(param), ToParamRows(grad), moments.mu, moments.mu_absmax,
       moments.nu, moments.nu_absmax},
      call);
  return {.param = FromParamRows(out[0], param.dims()),
          .moments = {.mu = out[1], .mu_absmax = out[2], .nu = out[3], .nu_absmax = out[4]}};
}

}  // namespace sophia::kernels
