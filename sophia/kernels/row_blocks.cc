#include "sophia/kernels/row_blocks.h"

#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::kernels {
namespace {

constexpr int64_t kMaxRows = 512;
constexpr int64_t kMaxColumns = 2048;

}  // namespace

Dims RowBlocks::grid() const {
  return {CeilDiv(rows, block_rows), CeilDiv(columns, block_columns)};
}

pallas::BlockSpec RowBlocks::spec() const {
  return {.block = block(), .index_map = [](const pallas::GridIndex& i) {
            return pallas::BlockIndex{i[0], i[1]};
          }};
}

int64_t PlanBlockRows(std::string_view kernel, int64_t rows, int64_t row_bytes,
                      const KernelTarget& target, const BlockRowOptions& options) {
  const int64_t step = options.step;
  if (options.block_rows < 0 || options.block_rows % step != 0) {
    Fail(kernel, "expected block_rows in multiples of {}, got {}", step, options.block_rows);
  }
  if (options.block_rows > 0) return options.block_rows;
  const int64_t budget = Info(target.chip.value_or(pallas::Chip::kV2)).vmem_default / 2;
  const int64_t fit = std::min(budget / (2 * row_bytes), kMaxRows) / step * step;
  return std::min(std::max(fit, step), RoundUp(rows, step));
}

RowBlocks PlanRows(std::string_view kernel, int64_t rows, int64_t columns,
                   const KernelTarget& target, const RowBlockOptions& options) {
  const int64_t block_columns = options.whole_rows ? columns : std::min(columns, kMaxColumns);
  const int64_t row_bytes = options.bytes * RoundUp(block_columns, kLanes);
  return {.rows = rows,
          .columns = columns,
          .block_rows = PlanBlockRows(kernel, rows, row_bytes, target, options.rows),
          .block_columns = block_columns,
          .step = options.rows.step};
}

pallas::KernelSpec RowSpec(std::string name, const RowBlocks& blocks, size_t inputs,
                           const std::vector<DType>& results) {
  pallas::KernelSpec spec{.name = std::move(name),
                          .grid = blocks.grid(),
                          .dimension_semantics = {pallas::DimensionSemantics::kParallel,
                                                  pallas::DimensionSemantics::kParallel},
                          .in_specs = std::vector(inputs, blocks.spec())};
  for (const DType dtype : results) {
    spec.out_shapes.push_back({dtype, {blocks.rows, blocks.columns}});
    spec.out_specs.push_back(blocks.spec());
  }
  return spec;
}

void ForRowSteps(const RowBlocks& blocks, const std::function<void(const pallas::Ds& rows)>& body) {
  if (blocks.block_rows == blocks.step) {
    body(pallas::Ds(0, blocks.step));
    return;
  }
  pallas::For(0, blocks.block_rows / blocks.step,
              [&](const pallas::Val& i) { body(pallas::Ds(i * blocks.step, blocks.step)); });
}

pallas::Val FirstRow(const RowBlocks& blocks, const pallas::Ds& rows) {
  return pallas::ProgramId(0) * blocks.block_rows + rows.start;
}

Tensor AsRows(const Tensor& x) { return Reshape(x, {-1, x.dim(-1)}); }

pallas::Val LoadRows(const pallas::Ref& ref, const pallas::Ds& rows) {
  return pallas::Convert(ref.At({rows}).Load(), DType::kF32);
}

void StoreRows(const pallas::Ref& ref, const pallas::Ds& rows, const pallas::Val& value) {
  ref.At({rows}).Store(pallas::Convert(value, ref.dtype()));
}

void CheckLike(std::string_view kernel, std::string_view name, const Tensor& x,
               const Tensor& like) {
  if (x.shape() == like.shape()) return;
  Fail(kernel, "expected {} as {}, got {}", name, ToString(like.shape()), ToString(x.shape()));
}

}  // namespace sophia::kernels
