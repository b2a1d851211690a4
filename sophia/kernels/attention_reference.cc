#include "sophia/kernels/attention_reference.h"

#include <algorithm>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/graph/ops/special_ops.h"

namespace sophia::kernels {
namespace {

constexpr double kMasked = -1e30;

// One block of queries against all keys. Score-like tensors are [B, K, Q, G, Sk], where K are the
// key heads and G the query heads of each.
struct Block {
  AttentionMask mask;
  int64_t batch, queries, keys, kv_heads, group, head_dim;
  DType dtype;
  Tensor positions;  // s32 [B or 1, Q]
  Tensor segments;   // of the queries, s32 [B, Q]; undefined without segments

  Tensor Grouped(const Tensor& q) const {
    return Reshape(q, {batch, queries, kv_heads, group, head_dim});
  }
  Tensor Ungrouped(const Tensor& q) const {
    return Reshape(q, {batch, queries, kv_heads * group, head_dim});
  }
};

// bool, broadcasts over scores; undefined: every query sees every key.
Tensor Visible(const Block& b) {
  Tensor visible;
  const auto also = [&](const Tensor& condition) {
    visible = visible.defined() ? And(visible, condition) : condition;
  };
  const Tensor key = Iota({DType::kS32, {1, 1, 1, 1, b.keys}}, 4);
  const Tensor query = Reshape(b.positions, {b.positions.dim(0), 1, b.queries, 1, 1});
  if (b.mask.causal) also(Le(key, query));
  if (b.mask.window > 0) also(Gt(key, query - static_cast<double>(b.mask.window)));
  if (b.segments.defined()) {
    also(Eq(Reshape(b.segments, {b.batch, 1, b.queries, 1, 1}),
            Reshape(b.mask.segments, {b.batch, 1, 1, 1, b.keys})));
  }
  return visible;
}

struct Scores {
  Tensor values;  // masked
  Tensor slope;   // d values / d (scale · q·k); undefined: 1
};
Scores ScoresOf(const Block& b, const Tensor& q, const Tensor& k) {
  Scores scores{.values = DotGeneral(b.Grouped(q), k,
                                     {.lhs_batch = {0, 2},
                                      .rhs_batch = {0, 2},
                                      .lhs_contract = {4},
                                      .rhs_contract = {3},
                                      .result = DType::kF32}) *
                          b.mask.scale};
  if (b.mask.soft_cap > 0) {
    const Tensor capped = Tanh(scores.values / b.mask.soft_cap);
    scores.slope = 1.0 - capped * capped;
    scores.values = capped * b.mask.soft_cap;
  }
  const Tensor visible = Visible(b);
  if (visible.defined()) scores.values = Select(visible, scores.values, kMasked);
  return scores;
}

// weights: [B, K, Q, G, Sk], x: [B, Sk, K, D] -> [B, Q, H, D].
Tensor Mix(const Block& b, const Tensor& weights, const Tensor& x) {
  const Tensor mixed = DotGeneral(weights, x,
                                  {.lhs_batch = {0, 1},
                                   .rhs_batch = {0, 2},
                                   .lhs_contract = {4},
                                   .rhs_contract = {1},
                                   .result = b.dtype});
  return b.Ungrouped(Transpose(mixed, {0, 2, 1, 3, 4}));
}

// weights: [B, K, Q, G, Sk], x: [B, Q, H, D] -> [B, Sk, K, D].
Tensor MixBack(const Block& b, const Tensor& weights, const Tensor& x, DType result) {
  const Tensor mixed = DotGeneral(weights, b.Grouped(x),
                                  {.lhs_batch = {0, 1},
                                   .rhs_batch = {0, 2},
                                   .lhs_contract = {2, 3},
                                   .rhs_contract = {1, 3},
                                   .result = result});
  return Transpose(mixed, {0, 2, 1, 3});
}

// -> out [B, Q, H, D], log-sum-exp [B, K, Q, G, 1].
std::pair<Tensor, Tensor> Forward(const Block& b, const Tensor& q, const Tensor& k,
                                  const Tensor& v) {
  const Tensor scores = ScoresOf(b, q, k).values;
  const Tensor max = ReduceMax(scores, {-1}, {.keep_dims = true});
  const Tensor exponentials = Exp(scores - max);
  const Tensor sum = Sum(exponentials, {-1}, {.keep_dims = true});
  return {Mix(b, Convert(exponentials / sum, b.dtype), v), max + Log(sum)};
}

struct Saved {
  Tensor q, k, v, out, log_sum;
};

// P = exp(S - logsumexp), dV = P'·dO, dS = P ∘ (dO·V' - rowsum(dO ∘ O)), dQ = dS·K, dK = dS'·Q.
// dK and dV of type `sums`.
std::vector<Tensor> Backward(const Block& b, const Saved& saved, const Tensor& grad, DType sums) {
  const Scores scores = ScoresOf(b, saved.q, saved.k);
  const Tensor weights = Exp(scores.values - saved.log_sum);
  const Tensor wide = Convert(grad, DType::kF32) * Convert(saved.out, DType::kF32);
  const Tensor row_sum = Transpose(Sum(b.Grouped(wide), {-1}), {0, 2, 1, 3});
  const Tensor grad_weights = DotGeneral(b.Grouped(grad), saved.v,
                                         {.lhs_batch = {0, 2},
                                          .rhs_batch = {0, 2},
                                          .lhs_contract = {4},
                                          .rhs_contract = {3},
                                          .result = DType::kF32});
  Tensor grad_scores = weights * (grad_weights - ExpandDims(row_sum, -1)) * b.mask.scale;
  if (scores.slope.defined()) grad_scores = grad_scores * scores.slope;
  grad_scores = Convert(grad_scores, b.dtype);
  return {Mix(b, grad_scores, saved.k), MixBack(b, grad_scores, saved.q, sums),
          MixBack(b, Convert(weights, b.dtype), grad, sums)};
}

// All queries as blocks of equal size, the last filled up with zeros: their gradient is zero, so
// that they add nothing to those of keys and values.
struct Blocking {
  Block whole;
  int64_t size;  // queries a block

  int64_t count() const { return CeilDiv(whole.queries, size); }
  // [B, Sq, ...] -> [blocks, B, size, ...] and back.
  Tensor Split(const Tensor& x) const {
    Dims dims = x.dims();
    dims[1] = size;
    dims.insert(dims.begin() + 1, count());
    return Swap(Reshape(PadEnd(x, 1, count() * size), dims), 0);
  }
  Tensor Join(const Tensor& x) const {
    Dims dims = x.dims();
    dims.erase(dims.begin());
    dims[1] = count() * size;
    return SliceAxis(Reshape(Swap(x, 0), dims), 1, 0, whole.queries);
  }
  // What a scan walks over: positions and, with segments, those of the queries.
  std::vector<Tensor> Places() const {
    std::vector<Tensor> places = {Split(whole.positions)};
    if (whole.segments.defined()) places.push_back(Split(whole.segments));
    return places;
  }
  Block At(std::span<const Tensor> places) const {
    Block b = whole;
    b.queries = size;
    b.positions = places[0];
    if (whole.segments.defined()) b.segments = places[1];
    return b;
  }

  static Tensor Swap(const Tensor& x, int64_t axis) {
    Dims order;
    for (int64_t i = 0; i < x.rank(); ++i) order.push_back(i);
    std::swap(order[static_cast<size_t>(axis)], order[static_cast<size_t>(axis + 1)]);
    return Transpose(x, order);
  }
};

Blocking BlockingOf(const Block& whole, int64_t max_scores) {
  const int64_t row = whole.batch * whole.kv_heads * whole.group * whole.keys;
  int64_t size = whole.queries;
  for (int64_t count = 2; size > 1 && size * row > max_scores; count *= 2)
    size = CeilDiv(whole.queries, count);
  return {whole, size};
}

std::pair<Tensor, Tensor> ForwardInBlocks(const Blocking& blocks, const Tensor& q, const Tensor& k,
                                          const Tensor& v) {
  if (blocks.count() == 1) return Forward(blocks.whole, q, k, v);
  std::vector<Tensor> xs = blocks.Places();
  xs.push_back(blocks.Split(q));
  const ScanResult result = Scan(
      [&](std::span<const Tensor>, std::span<const Tensor> x) -> ScanStep {
        const auto [out, log_sum] = Forward(blocks.At(x), x.back(), k, v);
        return {{}, {out, Transpose(log_sum, {0, 2, 1, 3, 4})}};
      },
      {}, xs);
  return {blocks.Join(result.ys[0]), Transpose(blocks.Join(result.ys[1]), {0, 2, 1, 3, 4})};
}

// dK and dV of type `sums`.
std::vector<Tensor> BackwardInBlocks(const Blocking& blocks, const Saved& saved, const Tensor& grad,
                                     DType sums) {
  if (blocks.count() == 1) return Backward(blocks.whole, saved, grad, sums);
  std::vector<Tensor> xs = blocks.Places();
  const size_t places = xs.size();
  for (const Tensor& x : {saved.q, saved.out, Transpose(saved.log_sum, {0, 2, 1, 3, 4}), grad}) {
    xs.push_back(blocks.Split(x));
  }
  const Tensor zero = Full({DType::kF32, saved.k.dims()}, 0);
  const ScanResult result = Scan(
      [&](std::span<const Tensor> totals, std::span<const Tensor> x) -> ScanStep {
        const Saved part{x[places], saved.k, saved.v, x[places + 1],
                         Transpose(x[places + 2], {0, 2, 1, 3, 4})};
        const std::vector<Tensor> grads = Backward(blocks.At(x), part, x[places + 3], DType::kF32);
        return {{totals[0] + grads[1], totals[1] + grads[2]}, {grads[0]}};
      },
      {zero, zero}, xs);
  return {blocks.Join(result.ys[0]), Convert(result.carry[0], sums),
          Convert(result.carry[1], sums)};
}

// The block of all queries; masks are made where it is traced.
Block WholeOf(const Tensor& q, const Tensor& k, const AttentionMask& mask) {
  Block b{.mask = mask,
          .batch = q.dim(0),
          .queries = q.dim(1),
          .keys = k.dim(1),
          .kv_heads = k.dim(2),
          .group = q.dim(2) / k.dim(2),
          .head_dim = q.dim(3),
          .dtype = q.dtype()};
  b.positions = mask.positions.defined() ? mask.positions : Iota({DType::kS32, {1, b.queries}}, 1);
  b.segments = mask.segments;
  return b;
}

// Queries from `start` to `end` and the first of the keys, as many as they may see.
struct Part {
  Block block;
  int64_t start, end;

  Tensor Queries(const Tensor& x, int64_t axis = 1) const { return SliceAxis(x, axis, start, end); }
  Tensor Keys(const Tensor& x) const { return SliceAxis(x, 1, 0, block.keys); }
};

// Equal parts of causal queries, so that fewer of the scores are made that the mask would hide:
// with n parts (n - 1) / 2n of all.
std::vector<Part> PartsOf(const Block& whole) {
  constexpr int64_t kMinQueries = 128;
  constexpr int64_t kMaxParts = 4;
  const bool in_order = whole.mask.causal && !whole.mask.positions.defined();
  int64_t count = in_order ? std::clamp<int64_t>(whole.queries / kMinQueries, 1, kMaxParts) : 1;
  while (whole.queries % count != 0) --count;
  if (count == 1) return {{whole, 0, whole.queries}};
  std::vector<Part> parts;
  const int64_t size = whole.queries / count;
  for (int64_t start = 0; start < whole.queries; start += size) {
    Part part{whole, start, start + size};
    part.block.queries = size;
    part.block.keys = part.end;
    part.block.positions = part.Queries(whole.positions);
    if (whole.segments.defined()) {
      part.block.segments = part.Queries(whole.segments);
      part.block.mask.segments = part.Keys(whole.mask.segments);
    }
    parts.push_back(part);
  }
  return parts;
}

std::pair<Tensor, Tensor> ForwardInParts(const std::vector<Part>& parts, int64_t max_scores,
                                         const Tensor& q, const Tensor& k, const Tensor& v) {
  std::vector<Tensor> outs;
  std::vector<Tensor> log_sums;
  for (const Part& part : parts) {
    const auto [out, log_sum] = ForwardInBlocks(BlockingOf(part.block, max_scores), part.Queries(q),
                                                part.Keys(k), part.Keys(v));
    outs.push_back(out);
    log_sums.push_back(log_sum);
  }
  return {Concatenate(outs, 1), Concatenate(log_sums, 2)};
}

std::vector<Tensor> BackwardInParts(const std::vector<Part>& parts, int64_t max_scores,
                                    const Saved& saved, const Tensor& grad) {
  const DType sums = parts.size() == 1 ? saved.k.dtype() : DType::kF32;
  std::vector<Tensor> grad_q;
  std::vector<Tensor> totals(2);
  for (const Part& part : parts) {
    const Saved own{part.Queries(saved.q), part.Keys(saved.k), part.Keys(saved.v),
                    part.Queries(saved.out), part.Queries(saved.log_sum, 2)};
    const std::vector<Tensor> grads =
        BackwardInBlocks(BlockingOf(part.block, max_scores), own, part.Queries(grad), sums);
    grad_q.push_back(grads[0]);
    for (size_t i = 0; i < 2; ++i) {
      const Tensor all = PadEnd(grads[i + 1], 1, saved.k.dim(1));
      totals[i] = totals[i].defined() ? totals[i] + all : all;
    }
  }
  return {Concatenate(grad_q, 1), Convert(totals[0], saved.k.dtype()),
          Convert(totals[1], saved.v.dtype())};
}

}  // namespace

Tensor ReferenceAttention(const Tensor& q, const Tensor& k, const Tensor& v,
                          const AttentionMask& mask, int64_t max_scores) {
  SOPHIA_CHECK(q.dim(2) % k.dim(2) == 0 && k.dims() == v.dims() && k.dim(3) == q.dim(3));
  SOPHIA_CHECK(mask.positions.defined() || !mask.causal || q.dim(1) == k.dim(1));
  const auto forward = [&](std::span<const Tensor> p) -> CustomVjpOutput {
    const std::vector<Part> parts = PartsOf(WholeOf(p[0], p[1], mask));
    const auto [values, sums] = ForwardInParts(parts, max_scores, p[0], p[1], p[2]);
    const Tensor out = CheckpointName(values, kSavedAttention);
    const Tensor log_sum = CheckpointName(sums, kSavedAttention);
    CustomVjpOutput result{.outputs = {out}, .residuals = {p[0], p[1], p[2], out, log_sum}};
    for (const Tensor& extra : {mask.positions, mask.segments}) {
      if (extra.defined()) result.residuals.push_back(extra);
    }
    return result;
  };
  const auto backward = [mask, max_scores](std::span<const Tensor> r,
                                           std::span<const Tensor> grads) {
    AttentionMask again = mask;
    size_t next = 5;
    if (mask.positions.defined()) again.positions = r[next++];
    if (mask.segments.defined()) again.segments = r[next];
    const std::vector<Part> parts = PartsOf(WholeOf(r[0], r[1], again));
    return BackwardInParts(parts, max_scores, {r[0], r[1], r[2], r[3], r[4]}, grads[0]);
  };
  return CustomVjp({q, k, v}, forward, backward)[0];
}

}  // namespace sophia::kernels
