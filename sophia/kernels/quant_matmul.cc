#include "sophia/kernels/quant_matmul.h"

#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/kernels/quant_tile.h"
#include "sophia/quant/unpack.h"

namespace sophia::kernels {
namespace {

using pallas::BlockIndex;
using pallas::BlockSpec;
using pallas::GridIndex;
using pallas::KernelRefs;
using pallas::Ref;
using pallas::Val;
using quant::PackedFormat;
using quant::PackedTensors;
using enum pallas::DimensionSemantics;

constexpr int64_t kLanes = 128;
constexpr int64_t kRowsOfX = 512;
constexpr int64_t kContract = 512;
constexpr int64_t kLeastColumns = 512;

// One product of `rows` rows: [rows, contract] with the weight, giving [rows, out].
struct Product {
  bool forward;
  const PackedFormat* format;
  DType dtype;
  int64_t rows, contract, out;
  int64_t panel;

  // Whether the first dimension of stored codes is contracted.
  bool contracts_first() const { return forward == format->input_major(); }
  int64_t packing() const { return format->has_nibbles() ? 2 : 1; }
  bool has_high_codes() const { return format->coding == quant::Coding::kInt6; }
};

struct Blocks {
  int64_t rows, out, contract;
};

// The largest multiple of 128 up to `limit` that divides `size`, or all of it.
int64_t Divisor(int64_t size, int64_t limit) {
  for (int64_t block = limit / kLanes * kLanes; block > 0; block -= kLanes) {
    if (size % block == 0) return block;
  }
  return size;
}

int64_t VmemOf(const Product& p, const Blocks& b) {
  const int64_t bytes = ByteSize(p.dtype, 1);
  const int64_t tile = b.out * b.contract;
  const int64_t groups = p.format->input_major() ? tile / p.format->group * 8 * 2 : 0;
  return 2 * bytes * b.rows * (b.contract + b.out) + 4 * b.rows * b.out +
         bytes * p.contract * b.out + 2 * tile / p.packing() +
         (p.has_high_codes() ? 2 * tile / 4 : 0) + groups;
}

const pallas::ChipInfo& ChipOf(const KernelTarget& target) {
  return pallas::Info(target.chip.value_or(pallas::Chip::kV5e));
}

// x is read once for each block of columns, for as many FLOPs a byte (in bf16) as the block has
// columns: at least as many as the chip computes in the time of a byte.
int64_t ColumnsFor(const pallas::ChipInfo& chip) {
  int64_t columns = kLeastColumns;
  while (static_cast<double>(columns) * chip.hbm_bandwidth < chip.bf16_flops) columns *= 2;
  return columns;
}

// Columns: as many as three quarters of the VMEM hold. Stored dimensions that scales run along, and
// contracted ones, are split evenly; others may end in a block that sticks out.
Blocks PlanBlocks(const Product& p, const KernelTarget& target, const QuantMatMulOptions& options) {
  const int64_t contract = options.block_contract > 0 ? options.block_contract : kContract;
  Blocks blocks{.rows = std::min(p.rows, options.block_rows > 0 ? options.block_rows : kRowsOfX),
                .out = 0,
                .contract = Divisor(p.contract, contract)};
  const pallas::ChipInfo& chip = ChipOf(target);
  const int64_t budget = chip.vmem_max / 4 * 3;
  int64_t columns = options.block_out > 0 ? options.block_out : ColumnsFor(chip);
  while (true) {
    blocks.out = p.forward ? std::min(p.out, columns) : Divisor(p.out, columns);
    if (options.block_out > 0 || columns <= kLanes || VmemOf(p, blocks) <= budget) return blocks;
    columns /= 2;
  }
}

// Block indices of the weight's tile: while later rows of x pass, it stays at the last one.
BlockIndex TileIndex(const Product& p, const GridIndex& i, int64_t steps) {
  const Val step = pallas::Max(i[2], pallas::Min(i[1], 1) * (steps - 1));
  return p.contracts_first() ? BlockIndex{step, i[0]} : BlockIndex{i[0], step};
}

// x, codes, those above them, scales and minima, as far as the format has them.
struct Operands {
  std::vector<Tensor> inputs;
  std::vector<BlockSpec> specs;
};

Operands OperandsOf(const Product& p, const Blocks& b, const Tensor& x, const PackedTensors& w) {
  const int64_t steps = p.contract / b.contract;
  const int64_t first = p.contracts_first() ? b.contract : b.out;
  const int64_t lanes = p.contracts_first() ? b.out : b.contract;
  Operands operands;
  const auto add = [&](const Tensor& input, Dims block, pallas::IndexMap map) {
    operands.inputs.push_back(input);
    operands.specs.push_back({.block = std::move(block), .index_map = std::move(map)});
  };
  add(x, {b.rows, b.contract}, [](const GridIndex& i) { return BlockIndex{i[1], i[2]}; });
  add(w.codes, {first / p.packing(), lanes},
      [=](const GridIndex& i) { return TileIndex(p, i, steps); });
  if (p.has_high_codes()) {
    add(w.high_codes, {first / 4, lanes},
        [=](const GridIndex& i) { return TileIndex(p, i, steps); });
  }
  if (!p.format->input_major()) {
    if (p.forward) {
      add(w.scales, {1, b.out}, [](const GridIndex& i) { return BlockIndex{0, i[0]}; });
    } else {
      add(w.scales, {1, b.contract}, [](const GridIndex& i) { return BlockIndex{0, i[2]}; });
    }
    return operands;
  }
  for (const Tensor& rows : {w.scales, w.minima}) {
    if (!rows.defined()) continue;
    const int64_t groups = first / p.format->group;
    add(Reshape(rows, {w.in / first, groups, w.rows}), {pallas::kSqueezed, groups, lanes},
        [=](const GridIndex& i) {
          const BlockIndex tile = TileIndex(p, i, steps);
          return BlockIndex{tile[0], 0, tile[1]};
        });
  }
  return operands;
}

void Body(const Product& p, const KernelTarget& target, const KernelRefs& r) {
  const Val row_block = pallas::ProgramId(1);
  const Val step = pallas::ProgramId(2);
  const Ref &sum = r.scratch[0], &tiles = r.scratch[1];
  const bool scales_result = !p.format->input_major();
  pallas::When(pallas::Eq(row_block, 0), [&] {
    TileRefs tile{.codes = r.in[1]};
    size_t next = 2;
    if (p.has_high_codes()) tile.high_codes.push_back(r.in[next++]);
    if (!scales_result) tile.scales.push_back(r.in[next++]);
    if (next < r.in.size() && !scales_result) tile.minima.push_back(r.in[next]);
    DecodeTile(*p.format, p.panel, tile, tiles.At({step}));
  });
  pallas::When(pallas::Eq(step, 0), [&] { sum.Store(0.0); });
  Val x = r.in[0].Load();
  Val weight = tiles.At({step}).Load();
  if (scales_result && !p.forward) {
    x = pallas::Convert(pallas::Convert(x, DType::kF32) * r.in[2].Load(), p.dtype);
  }
  if (target.chip && !ChipOf(target).bf16_dot) {
    x = pallas::Convert(x, DType::kF32);
    weight = pallas::Convert(weight, DType::kF32);
  }
  sum.Store(pallas::Dot(x, weight, {.transpose_rhs = !p.contracts_first(), .acc = sum.Load()}));
  pallas::When(pallas::Eq(step, pallas::NumPrograms(2) - 1), [&] {
    Val result = sum.Load();
    if (scales_result && p.forward) result = result * r.in[2].Load();
    r.out[0].Store(pallas::Convert(result, p.dtype));
  });
}

Tensor Call(const Product& p, const Tensor& x, const PackedTensors& w, const KernelTarget& target,
            const QuantMatMulOptions& options) {
  const Blocks b = PlanBlocks(p, target, options);
  const Operands operands = OperandsOf(p, b, x, w);
  const int64_t steps = p.contract / b.contract;
  pallas::KernelSpec spec{
      .name = p.forward ? "quant_matmul" : "quant_matmul_dx",
      .grid = {CeilDiv(p.out, b.out), CeilDiv(p.rows, b.rows), steps},
      .dimension_semantics = {kParallel, kArbitrary, kArbitrary},
      .in_specs = operands.specs,
      .out_shapes = {{p.dtype, {p.rows, p.out}}},
      .out_specs = {{.block = {b.rows, b.out},
                     .index_map =
                         [](const GridIndex& i) {
                           return BlockIndex{i[1], i[0]};
                         }}},
      .scratch_shapes = {
          pallas::Vmem(DType::kF32, {b.rows, b.out}),
          pallas::Vmem(p.dtype, p.contracts_first() ? Dims{steps, b.contract, b.out}
                                                    : Dims{steps, b.out, b.contract})}};
  const int64_t weights = p.contract * p.out;
  spec.cost_estimate = pallas::CostEstimate{
      .flops = 2 * p.rows * weights,
      .bytes_accessed = x.shape().bytes() * spec.grid[0] + w.codes.shape().bytes() +
                        (w.high_codes.defined() ? w.high_codes.shape().bytes() : 0) +
                        w.scales.shape().bytes() + ByteSize(p.dtype, p.rows * p.out)};
  // Half again for what the compiler keeps between.
  const int64_t vmem = VmemOf(p, b) * 3 / 2;
  if (vmem > ChipOf(target).vmem_default) {
    spec.vmem_limit_bytes = std::min(vmem, ChipOf(target).vmem_max);
  }
  return pallas::PallasCall(
      spec, [&](const KernelRefs& r) { Body(p, target, r); }, operands.inputs, CallOf(target))[0];
}

}  // namespace

Tensor QuantMatMul(const Tensor& x, const PackedFormat& format, std::span<const Tensor> parts,
                   const KernelTarget& target, const QuantMatMulOptions& options) {
  if (target.mode == pallas::Mode::kReference) {
    return quant::MatMulPacked(x, format, parts, options.rows);
  }
  const PackedTensors w = quant::Expand(format, parts, options.rows);
  const bool is_float = x.dtype() == DType::kBF16 || x.dtype() == DType::kF32;
  if (x.rank() < 1 || x.dim(-1) != w.in || !is_float) {
    Fail("quant_matmul", "expected x of bf16 or f32 and sizes [..., {}], got {}", w.in,
         ToString(x.shape()));
  }
  const Product forward{.forward = true,
                        .format = &format,
                        .dtype = x.dtype(),
                        .rows = x.shape().elements() / w.in,
                        .contract = w.in,
                        .out = w.rows,
                        .panel = quant::PanelRows(w.in)};
  Product backward = forward;
  backward.forward = false;
  std::swap(backward.contract, backward.out);
  std::vector<Tensor> residuals(parts.begin(), parts.end());
  if (options.rows.count > 1) residuals.push_back(options.rows.index);
  const Tensor rows = Reshape(x, {forward.rows, w.in});
  const Tensor y = CustomVjp(
      {rows},
      [&](std::span<const Tensor> primals) -> CustomVjpOutput {
        return {.outputs = {Call(forward, primals[0], w, target, options)}, .residuals = residuals};
      },
      [=, &format](std::span<const Tensor> saved, std::span<const Tensor> grads) {
        EqualPart part = options.rows;
        if (part.count > 1) part.index = saved.back();
        const PackedTensors weight = quant::Expand(format, saved.first(format.parts.size()), part);
        return std::vector{Call(backward, grads[0], weight, target, options)};
      })[0];
  Dims dims = x.dims();
  dims.back() = w.rows;
  return Reshape(y, dims);
}

}  // namespace sophia::kernels
