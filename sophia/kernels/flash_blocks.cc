#include "sophia/kernels/flash_blocks.h"

#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"

namespace sophia::kernels::flash {

using pallas::Val;

Sizes SizesFor(const Tensor& q, const Tensor& k, const Tensor& v, FlashOptions& options) {
  const auto fits = [&] {
    return q.rank() == 4 && k.rank() == 4 && k.dims() == v.dims() && k.dim(0) == q.dim(0) &&
           q.dim(1) % k.dim(1) == 0 && k.dim(2) == q.dim(2) && k.dim(3) == q.dim(3);
  };
  if (!fits()) {
    Fail("flash_attention",
         "expected q [B, H, T, D] and k, v [B, K, T, D] with K dividing H, got {}, {} and {}",
         ToString(q.shape()), ToString(k.shape()), ToString(v.shape()));
  }
  Sizes sizes{.batch = q.dim(0),
              .heads = q.dim(1),
              .kv_heads = k.dim(1),
              .length = q.dim(2),
              .head_dim = q.dim(3),
              .padded = 0};
  const int64_t tiles = (sizes.length + kLanes - 1) / kLanes * kLanes;
  options.block_q = std::min(options.block_q, tiles);
  options.block_k = std::min(options.block_k, tiles);
  const int64_t larger = std::max(options.block_q, options.block_k);
  const int64_t smaller = std::min(options.block_q, options.block_k);
  if (smaller % kLanes != 0 || larger % smaller != 0) {
    Fail("flash_attention",
         "expected blocks in multiples of 128, one dividing the other, got {} queries and {} keys",
         options.block_q, options.block_k);
  }
  sizes.padded = (sizes.length + larger - 1) / larger * larger;
  return sizes;
}

Val VisibleKeyBlock(const FlashOptions& options, const Val& q, const Val& j) {
  Val block = j;
  if (options.causal) {
    block = pallas::Min(block, (q * options.block_q + (options.block_q - 1)) / options.block_k);
  }
  if (options.window > 0) {
    const Val first_key = pallas::Max(q * options.block_q - (options.window - 1), 0);
    block = pallas::Max(block, first_key / options.block_k);
  }
  return block;
}

Val VisibleQueryBlock(const FlashOptions& options, const Sizes& sizes, const Val& k, const Val& i) {
  Val block = i;
  if (options.causal) block = pallas::Max(block, k * options.block_k / options.block_q);
  if (options.window > 0) {
    const Val last_query = k * options.block_k + (options.block_k + options.window - 2);
    const Val last = pallas::Min(last_query / options.block_q, sizes.padded / options.block_q - 1);
    block = pallas::Min(block, last);
  }
  return block;
}

Val RowOf(const Val& column) {
  const int64_t n = column.dim(0);
  return pallas::SliceAxis(pallas::Transpose(pallas::BroadcastTo(column, {n, kLanes})), 0, 0, 1);
}

namespace {

Val ColumnOf(const Val& row) {
  const int64_t n = row.dim(1);
  return pallas::SliceAxis(pallas::Transpose(pallas::BroadcastTo(row, {kLanes, n})), 1, 0, 1);
}

}  // namespace

Val Visible(const FlashOptions& options, const Sizes& sizes, const Val& q, const Val& k,
            const Segments& segments, bool keys_first) {
  const Dims dims =
      keys_first ? Dims{options.block_k, options.block_q} : Dims{options.block_q, options.block_k};
  const Val query = pallas::Iota(dims, keys_first ? 1 : 0) + q * options.block_q;
  const Val key = pallas::Iota(dims, keys_first ? 0 : 1) + k * options.block_k;
  Val visible;
  const auto also = [&](const Val& condition) {
    visible = visible.defined() ? visible & condition : condition;
  };
  if (options.causal) also(key <= query);
  if (options.window > 0) also(key > query - options.window);
  if (sizes.padded > sizes.length && !options.causal) also(key < sizes.length);
  if (segments.queries.defined()) {
    also(keys_first ? pallas::Eq(segments.queries, ColumnOf(segments.keys))
                    : pallas::Eq(ColumnOf(segments.queries), segments.keys));
  }
  return visible;
}

Tensor PadTo(const Tensor& x, int64_t axis, int64_t size) {
  const Dims zeros(x.dims().size(), 0);
  Dims high = zeros;
  high[static_cast<size_t>(axis)] = size - x.dim(axis);
  return high == zeros ? x : Pad(x, Scalar(x.dtype(), 0), zeros, high, zeros);
}

Tensor SegmentRows(const Tensor& segments, const Sizes& sizes) {
  return PadTo(Reshape(segments, {sizes.batch, 1, sizes.length}), 2, sizes.padded);
}

}  // namespace sophia::kernels::flash
