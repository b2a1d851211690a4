#include "sophia/kernels/flash_blocks.h"

#include <algorithm>
#include <limits>

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"

namespace sophia::kernels::flash {
namespace {

using pallas::BlockIndex;
using pallas::BlockSpec;
using pallas::GridIndex;
using pallas::kSqueezed;
using pallas::Val;

// Whether a head is a whole number of lanes, so that a block is a head's columns.
bool HeadsAreColumns(const Problem& p) { return p.head_dim % kLanes == 0; }

// The smallest and the largest segment of each block of `size` rows: [B, blocks].
struct Extremes {
  Tensor min, max;
};
Extremes ExtremesOf(const Problem& p, int64_t size) {
  const Tensor rows = Reshape(p.SegmentRows(), {p.batch, p.padded / size, size});
  // Padding, behind the last segment.
  constexpr double kLast = std::numeric_limits<int32_t>::max();
  const Tensor rising = Select(Eq(rows, 0.0), kLast, rows);
  return {ReduceMin(rising, {2}), ReduceMax(rising, {2})};
}

// Of blocks `own`, the first and the last of the blocks `other` with segments in the same range.
Tensor BoundsOf(const Problem& p, int64_t own, int64_t other) {
  const Extremes x = ExtremesOf(p, own);
  const Extremes y = ExtremesOf(p, other);
  const Tensor meets = And(Le(ExpandDims(x.min, 2), ExpandDims(y.max, 1)),
                           Ge(ExpandDims(x.max, 2), ExpandDims(y.min, 1)));
  const int64_t count = p.padded / other;
  const Tensor place = Iota({DType::kS32, meets.dims()}, 2);
  const Tensor first = ReduceMin(Select(meets, place, static_cast<double>(count)), {2});
  const Tensor last = ReduceMax(Select(meets, place, -1.0), {2});
  return Reshape(Concatenate({ExpandDims(first, 2), ExpandDims(last, 2)}, 2), {-1});
}

// `block`, moved to the nearest of those within the bounds of `own`, one of `count` blocks.
Val WithinBounds(const BatchRow& row, int64_t count, const Val& own, const Val& block) {
  if (row.bounds.empty()) return block;
  const Val place = (row.index * count + own) * 2;
  const Val first = row.bounds[0].At({place}).Load();
  const Val last = row.bounds[0].At({place + 1}).Load();
  return pallas::Min(pallas::Max(block, first), last);
}

void CheckOperands(const Tensor& q, const Tensor& k, const Tensor& v) {
  const bool has_types = (q.dtype() == DType::kBF16 || q.dtype() == DType::kF32) &&
                         k.dtype() == q.dtype() && v.dtype() == q.dtype();
  const bool fits = q.rank() == 4 && k.rank() == 4 && k.dims() == v.dims() &&
                    k.dim(0) == q.dim(0) && k.dim(1) == q.dim(1) && k.dim(3) == q.dim(3) &&
                    k.dim(2) > 0 && q.dim(2) % k.dim(2) == 0;
  if (has_types && fits) return;
  Fail("flash_attention",
       "expected q [B, T, H, D] and k, v [B, T, K, D] with K dividing H, all bf16 or all f32, got "
       "{}, {} and {}",
       ToString(q.shape()), ToString(k.shape()), ToString(v.shape()));
}

void CheckSegments(const Tensor& segments, const Tensor& q) {
  const Shape expected{DType::kS32, {q.dim(0), q.dim(1)}};
  if (segments.shape() == expected) return;
  Fail("flash_attention", "expected segments {}, got {}", ToString(expected),
       ToString(segments.shape()));
}

Val ColumnOf(const Val& row) {
  const int64_t n = row.dim(1);
  return pallas::SliceAxis(pallas::Transpose(pallas::BroadcastTo(row, {kLanes, n})), 1, 0, 1);
}

}  // namespace

Problem ProblemOf(FlashKernel kernel, const KernelTarget& target, const AttentionMask& mask,
                  const FlashBlocks& blocks, const Tensor& q, const Tensor& k, const Tensor& v) {
  CheckOperands(q, k, v);
  if (mask.segments.defined()) CheckSegments(mask.segments, q);
  Problem p{.target = target,
            .mask = mask,
            .blocks = PlannedBlocks(kernel, target.chip, q.dim(1), mask.window),
            .batch = q.dim(0),
            .heads = q.dim(2),
            .kv_heads = k.dim(2),
            .length = q.dim(1),
            .head_dim = q.dim(3),
            .dtype = q.dtype()};
  const int64_t tiles = RoundUp(p.length, kLanes);
  if (blocks.q > 0) p.blocks.q = std::min(blocks.q, tiles);
  if (blocks.k > 0) p.blocks.k = std::min(blocks.k, tiles);
  const int64_t larger = std::max(p.blocks.q, p.blocks.k);
  const int64_t smaller = std::min(p.blocks.q, p.blocks.k);
  if (smaller % kLanes != 0 || larger % smaller != 0) {
    Fail("flash_attention",
         "expected blocks in multiples of 128, one dividing the other, got {} queries and {} keys",
         p.blocks.q, p.blocks.k);
  }
  p.padded = RoundUp(p.length, larger);
  return p;
}

Shape Problem::ArrayOf(int64_t heads) const {
  if (HeadsAreColumns(*this)) return {dtype, {batch, padded, heads * head_dim}};
  return {dtype, {batch, heads, padded, head_dim}};
}

Tensor Problem::ToKernel(const Tensor& x) const {
  if (HeadsAreColumns(*this)) {
    return PadEnd(Reshape(x, {batch, length, x.dim(2) * head_dim}), 1, padded);
  }
  return PadEnd(Transpose(x, {0, 2, 1, 3}), 2, padded);
}

Tensor Problem::FromKernel(const Tensor& x, int64_t heads) const {
  if (HeadsAreColumns(*this)) {
    return Reshape(SliceAxis(x, 1, 0, length), {batch, length, heads, head_dim});
  }
  return Transpose(SliceAxis(x, 2, 0, length), {0, 2, 1, 3});
}

Tensor Problem::PadRows(const Tensor& x) const { return PadEnd(x, 3, padded); }

Tensor Problem::CutRows(const Tensor& x) const { return SliceAxis(x, 3, 0, length); }

Tensor Problem::SegmentRows() const {
  return PadEnd(Reshape(mask.segments, {batch, 1, length}), 2, padded);
}

pallas::CostEstimate Problem::Cost(int64_t products, int64_t staying_heads, int64_t passing_arrays,
                                   int64_t block) const {
  const int64_t seen = mask.window > 0 ? std::min(mask.window, length) : length;
  const int64_t scores = batch * heads * length * seen / (mask.causal && mask.window == 0 ? 2 : 1);
  const int64_t row = head_dim * Info(dtype).bits / 8;
  return {.flops = 2 * products * scores * head_dim,
          .transcendentals = scores,
          .bytes_accessed =
              staying_heads * batch * length * row + passing_arrays * scores / block * row};
}

BlockSpec HeadBlock(const Problem& p, int64_t rows, const Place& head, const Place& block) {
  if (HeadsAreColumns(p)) {
    return {.block = {kSqueezed, rows, p.head_dim}, .index_map = [=](const GridIndex& i) {
              return BlockIndex{i[0], block(i), head(i)};
            }};
  }
  return {.block = {kSqueezed, kSqueezed, rows, p.head_dim}, .index_map = [=](const GridIndex& i) {
            return BlockIndex{i[0], head(i), block(i), 0};
          }};
}

BlockSpec StatisticsBlock(const Problem& p, const Place& head, const Place& block) {
  return {.block = {kSqueezed, kSqueezed, 1, p.blocks.q}, .index_map = [=](const GridIndex& i) {
            return BlockIndex{i[0], head(i), 0, block(i)};
          }};
}

BlockSpec SegmentBlock(int64_t rows, const Place& block) {
  return {.block = {kSqueezed, 1, rows}, .index_map = [=](const GridIndex& i) {
            return BlockIndex{i[0], 0, block(i)};
          }};
}

Tensor Problem::KeyBounds() const { return BoundsOf(*this, blocks.q, blocks.k); }

Tensor Problem::QueryBounds() const { return BoundsOf(*this, blocks.k, blocks.q); }

Val VisibleKeyBlock(const Problem& p, const BatchRow& row, const Val& q, const Val& j) {
  Val block = WithinBounds(row, p.query_blocks(), q, j);
  if (p.mask.causal) {
    block = pallas::Min(block, (q * p.blocks.q + (p.blocks.q - 1)) / p.blocks.k);
  }
  if (p.mask.window > 0) {
    const Val first_key = pallas::Max(q * p.blocks.q - (p.mask.window - 1), 0);
    block = pallas::Max(block, first_key / p.blocks.k);
  }
  return block;
}

Val VisibleQueryBlock(const Problem& p, const BatchRow& row, const Val& k, const Val& i) {
  Val block = WithinBounds(row, p.key_blocks(), k, i);
  if (p.mask.causal) block = pallas::Max(block, k * p.blocks.k / p.blocks.q);
  if (p.mask.window > 0) {
    const Val last_query = k * p.blocks.k + (p.blocks.k + p.mask.window - 2);
    const Val last = pallas::Min(last_query / p.blocks.q, p.query_blocks() - 1);
    block = pallas::Min(block, last);
  }
  return block;
}

Val LoadBlock(const Problem& p, const pallas::Ref& ref) {
  const bool widen = p.target.chip && !Info(*p.target.chip).bf16_dot;
  return widen ? pallas::Convert(ref.Load(), DType::kF32) : ref.Load();
}

Val RowOf(const Val& column) {
  const int64_t n = column.dim(0);
  return pallas::SliceAxis(pallas::Transpose(pallas::BroadcastTo(column, {n, kLanes})), 0, 0, 1);
}

Val Visible(const Problem& p, const Val& q, const Val& k, const Segments& segments,
            bool keys_first) {
  const Dims dims = keys_first ? Dims{p.blocks.k, p.blocks.q} : Dims{p.blocks.q, p.blocks.k};
  const Val query = pallas::Iota(dims, keys_first ? 1 : 0) + q * p.blocks.q;
  const Val key = pallas::Iota(dims, keys_first ? 0 : 1) + k * p.blocks.k;
  Val visible;
  const auto also = [&](const Val& condition) {
    visible = visible.defined() ? visible & condition : condition;
  };
  if (p.mask.causal) also(key <= query);
  if (p.mask.window > 0) also(key > query - p.mask.window);
  if (p.padded > p.length && !p.mask.causal) also(key < p.length);
  if (segments.queries.defined()) {
    also(keys_first ? pallas::Eq(segments.queries, ColumnOf(segments.keys))
                    : pallas::Eq(ColumnOf(segments.queries), segments.keys));
  }
  return visible;
}

}  // namespace sophia::kernels::flash
