#include "sophia/kernels/dropout.h"

#include <array>
#include <cmath>

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/kernels/row_blocks.h"
#include "sophia/kernels/threefry.h"

namespace sophia::kernels {
namespace {

using pallas::KernelRefs;
using pallas::Val;

// Rows that one row of hashes serves lie this far apart: a tile of f32.
constexpr int64_t kRows = 8;
constexpr int64_t kStep = 4 * kRows;
constexpr double kScale = 65536;

// The 16-bit numbers of the four groups of rows.
template <typename T>
std::vector<T> Quarters(const Words<T>& words) {
  std::vector<T> quarters;
  for (const T& word : words) {
    quarters.push_back(And(word, 65535.0));
    quarters.push_back(ShiftRightLogical(word, 16.0));
  }
  return quarters;
}

// Elements whose number lies below this are kept.
double Threshold(double rate) { return std::round((1 - rate) * kScale); }

std::vector<Tensor> Reference(const Tensor& rows, const Tensor& key, double rate) {
  const int64_t n = rows.dim(0);
  const int64_t columns = rows.dim(1);
  const int64_t groups = CeilDiv(n, kStep);
  const Shape shape{DType::kS32, {groups * kRows, columns}};
  const auto word = [&](int64_t i) { return Reshape(SliceAxis(key, 0, i, i + 1), {1, 1}); };
  const Words<Tensor> words =
      Threefry<Tensor>({word(0), word(1)}, {Iota(shape, 0), Iota(shape, 1)});
  // XLA would hash again for every element that takes a quarter of it.
  const std::vector<Tensor> kept = OptimizationBarrier({words[0], words[1]});
  std::vector<Tensor> numbers = Quarters(Words<Tensor>{kept[0], kept[1]});
  for (Tensor& quarter : numbers) quarter = Reshape(quarter, {groups, kRows, columns});
  const Tensor all = Reshape(Concatenate(numbers, 1), {groups * kStep, columns});
  const Tensor keep = Lt(SliceAxis(all, 0, 0, n), Threshold(rate));
  const Tensor scaled = Convert(rows, DType::kF32) * (1 / (1 - rate));
  return {Convert(Select(keep, scaled, 0.0), rows.dtype())};
}

Tensor Drop(const Tensor& rows, const Tensor& key, const KernelTarget& target,
            const DropoutOptions& options) {
  const DType dtype = rows.dtype();
  const RowBlocks blocks =
      PlanRows("dropout", rows.dim(0), rows.dim(1), target,
               {.bytes = 2 * ByteSize(dtype, 1), .rows = {options.block_rows, kStep}});
  pallas::KernelSpec spec = RowSpec("dropout", blocks, 1, {dtype});
  spec.in_specs.push_back({.block = {1, 2}, .space = pallas::MemorySpace::kSmem});
  // Of 20 rounds of 5 operations for four elements, and those around.
  spec.cost_estimate = pallas::CostEstimate{.flops = 35 * rows.shape().elements(),
                                            .bytes_accessed = 2 * rows.shape().bytes()};
  const auto body = [&](const KernelRefs& r) {
    const Words<Val> words = {r.in[1].At({0, 0}).Load(), r.in[1].At({0, 1}).Load()};
    const Dims dims = {kRows, blocks.block_columns};
    const Val column = pallas::Iota(dims, 1) + pallas::ProgramId(1) * blocks.block_columns;
    const Val row = pallas::Iota(dims, 0);
    ForRowSteps(blocks, [&](const pallas::Ds& at) {
      const Val first = row + FirstRow(blocks, at) / 4;
      const Val bits = pallas::Concatenate(Quarters(Threefry<Val>(words, {first, column})), 0);
      const Val scaled = LoadRows(r.in[0], at) * (1 / (1 - options.rate));
      StoreRows(r.out[0], at, pallas::Select(bits < Threshold(options.rate), scaled, 0.0));
    });
  };
  pallas::CallOptions call = CallOf(target);
  call.reference = [rate = options.rate](std::span<const Tensor> in) {
    return Reference(in[0], Reshape(in[1], {2}), rate);
  };
  return pallas::PallasCall(spec, body, {rows, Reshape(key, {1, 2})}, call)[0];
}

}  // namespace

Tensor Dropout(const Tensor& x, const Tensor& key, const KernelTarget& target,
               const DropoutOptions& options) {
  if (!(options.rate >= 0 && options.rate < 1)) {
    Fail("dropout", "expected a rate of at least 0 and below 1, got {}", options.rate);
  }
  if (key.shape() != Shape{DType::kS32, {2}}) {
    Fail("dropout", "expected a key s32[2], got {}", ToString(key.shape()));
  }
  const Tensor rows = CustomVjp(
      {AsRows(x)},
      [&](std::span<const Tensor> primals) -> CustomVjpOutput {
        return {.outputs = {Drop(primals[0], key, target, options)}, .residuals = {key}};
      },
      [target, options](std::span<const Tensor> saved, std::span<const Tensor> grads) {
        return std::vector{Drop(grads[0], saved[0], target, options)};
      })[0];
  return Reshape(rows, x.dims());
}

}  // namespace sophia::kernels
