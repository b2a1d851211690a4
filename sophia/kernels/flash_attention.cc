#include "sophia/kernels/flash_attention.h"

#include <algorithm>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/kernels/flash_blocks.h"

namespace sophia::kernels {
namespace {

using flash::kLanes;
using flash::kMasked;
using flash::PadTo;
using flash::RowOf;
using flash::SegmentRows;
using flash::Segments;
using flash::Sizes;
using flash::SizesFor;
using flash::Visible;
using flash::VisibleKeyBlock;
using pallas::BlockIndex;
using pallas::BlockSpec;
using pallas::GridIndex;
using pallas::KernelRefs;
using pallas::Ref;
using pallas::Val;

void ForwardBody(const FlashOptions& o, const Sizes& sizes, const KernelRefs& r) {
  const Val q = pallas::ProgramId(2);
  const Val j = pallas::ProgramId(3);
  const Ref &max = r.scratch[0], &sum = r.scratch[1], &mix = r.scratch[2];
  pallas::When(pallas::Eq(j, 0), [&] {
    max.Store(kMasked);
    sum.Store(0.0);
    mix.Store(0.0);
  });
  pallas::When(pallas::Eq(j, VisibleKeyBlock(o, q, j)), [&] {
    const Val values = r.in[2].At({0, 0}).Load();
    Val scores =
        pallas::Dot(r.in[0].At({0, 0}).Load(), r.in[1].At({0, 0}).Load(), {.transpose_rhs = true}) *
        o.scale;
    if (o.soft_cap > 0) scores = pallas::Tanh(scores / o.soft_cap) * o.soft_cap;
    Segments segments;
    if (r.in.size() > 3) segments = {r.in[3].At({0}).Load(), r.in[4].At({0}).Load()};
    const Val visible = Visible(o, sizes, q, j, segments, false);
    if (visible.defined()) scores = pallas::Select(visible, scores, kMasked);
    const Val before = pallas::SliceAxis(max.Load(), 1, 0, 1);
    const Val now = pallas::Max(before, pallas::ReduceMax(scores, {1}, {.keep_dims = true}));
    Val weights = pallas::Exp(scores - now);
    if (visible.defined()) weights = pallas::Select(visible, weights, 0.0);
    const Val shrink = pallas::Exp(before - now);
    const Val total = pallas::SliceAxis(sum.Load(), 1, 0, 1) * shrink +
                      pallas::Sum(weights, {1}, {.keep_dims = true});
    sum.Store(pallas::BroadcastTo(total, sum.dims()));
    max.Store(pallas::BroadcastTo(now, max.dims()));
    mix.Store(pallas::Dot(pallas::Convert(weights, values.dtype()), values,
                          {.acc = mix.Load() * shrink}));
  });
  pallas::When(pallas::Eq(j, pallas::NumPrograms(3) - 1), [&] {
    const Val total = pallas::SliceAxis(sum.Load(), 1, 0, 1);
    const Val seen = pallas::Select(total > 0.0, total, 1.0);
    r.out[0].At({0, 0}).Store(pallas::Convert(mix.Load() / seen, r.out[0].dtype()));
    const Val log_sum = pallas::SliceAxis(max.Load(), 1, 0, 1) + pallas::Log(seen);
    r.out[1].At({0, 0}).Store(RowOf(log_sum));
  });
}

pallas::KernelSpec ForwardSpec(const FlashOptions& o, const Sizes& s, DType dtype,
                               bool has_segments) {
  const int64_t group = s.group();
  const BlockSpec queries{.block = {1, 1, o.block_q, s.head_dim},
                          .index_map = [](const GridIndex& i) {
                            return BlockIndex{i[0], i[1], i[2], 0};
                          }};
  const BlockSpec keys{.block = {1, 1, o.block_k, s.head_dim},
                       .index_map = [o, group](const GridIndex& i) {
                         return BlockIndex{i[0], i[1] / group, VisibleKeyBlock(o, i[2], i[3]), 0};
                       }};
  pallas::KernelSpec spec{.name = "flash_attention",
                          .grid = {s.batch, s.heads, s.padded / o.block_q, s.padded / o.block_k},
                          .dimension_semantics = {pallas::DimensionSemantics::kParallel,
                                                  pallas::DimensionSemantics::kParallel,
                                                  pallas::DimensionSemantics::kParallel,
                                                  pallas::DimensionSemantics::kArbitrary},
                          .in_specs = {queries, keys, keys},
                          .out_shapes = {{dtype, {s.batch, s.heads, s.padded, s.head_dim}},
                                         {DType::kF32, {s.batch, s.heads, 1, s.padded}}},
                          .out_specs = {queries,
                                        {.block = {1, 1, 1, o.block_q},
                                         .index_map =
                                             [](const GridIndex& i) {
                                               return BlockIndex{i[0], i[1], 0, i[2]};
                                             }}},
                          .scratch_shapes = {pallas::Vmem(DType::kF32, {o.block_q, kLanes}),
                                             pallas::Vmem(DType::kF32, {o.block_q, kLanes}),
                                             pallas::Vmem(DType::kF32, {o.block_q, s.head_dim})}};
  if (has_segments) {
    spec.in_specs.push_back({.block = {1, 1, o.block_q}, .index_map = [](const GridIndex& i) {
                               return BlockIndex{i[0], 0, i[2]};
                             }});
    spec.in_specs.push_back({.block = {1, 1, o.block_k}, .index_map = [o](const GridIndex& i) {
                               return BlockIndex{i[0], 0, VisibleKeyBlock(o, i[2], i[3])};
                             }});
  }
  // Of the scores below the diagonal, if causal, and within the window.
  const int64_t seen = o.window > 0 ? std::min(o.window, s.length) : s.length;
  const int64_t scores = s.batch * s.heads * s.length * seen / (o.causal && o.window == 0 ? 2 : 1);
  spec.cost_estimate =
      pallas::CostEstimate{.flops = 4 * scores * s.head_dim, .transcendentals = scores};
  return spec;
}

// The same in plain ops.
std::vector<Tensor> Reference(const FlashOptions& o, const Sizes& s, std::span<const Tensor> in) {
  const Tensor q = Reshape(in[0], {s.batch, s.kv_heads, s.group(), s.length, s.head_dim});
  Tensor scores = DotGeneral(q, in[1],
                             {.lhs_batch = {0, 1},
                              .rhs_batch = {0, 1},
                              .lhs_contract = {4},
                              .rhs_contract = {3},
                              .result = DType::kF32}) *
                  o.scale;  // [B, K, G, T, T]
  if (o.soft_cap > 0) scores = Tanh(scores / o.soft_cap) * o.soft_cap;
  const Tensor query = Iota({DType::kS32, {1, 1, 1, s.length, 1}}, 3);
  const Tensor key = Iota({DType::kS32, {1, 1, 1, 1, s.length}}, 4);
  Tensor visible = Ge(key, 0.0);
  if (o.causal) visible = And(visible, Le(key, query));
  if (o.window > 0) visible = And(visible, Gt(key, query - static_cast<double>(o.window)));
  if (in.size() > 3) {
    visible = And(visible, Eq(Reshape(in[3], {s.batch, 1, 1, s.length, 1}),
                              Reshape(in[3], {s.batch, 1, 1, 1, s.length})));
  }
  const Tensor masked = Select(visible, scores, kMasked);
  const Tensor max = ReduceMax(masked, {-1}, {.keep_dims = true});
  const Tensor weights = Select(visible, Exp(masked - max), 0.0);
  const Tensor sum = Sum(weights, {-1}, {.keep_dims = true});
  const Tensor seen = Select(Gt(sum, 0.0), sum, 1.0);
  const Tensor mix = DotGeneral(Convert(weights / seen, in[2].dtype()), in[2],
                                {.lhs_batch = {0, 1},
                                 .rhs_batch = {0, 1},
                                 .lhs_contract = {4},
                                 .rhs_contract = {2},
                                 .result = DType::kF32});
  return {Convert(Reshape(mix, in[0].dims()), in[0].dtype()),
          Reshape(max + Log(seen), {s.batch, s.heads, 1, s.length})};
}

}  // namespace

FlashOutput FlashForward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& segments,
                         const KernelTarget& target, const FlashOptions& options) {
  FlashOptions o = options;
  const Sizes sizes = SizesFor(q, k, v, o);
  std::vector<Tensor> inputs = {q, k, v};
  if (target.mode == pallas::Mode::kReference) {
    if (segments.defined()) inputs.push_back(segments);
    const std::vector<Tensor> results = Reference(o, sizes, inputs);
    return {results[0], results[1]};
  }
  for (Tensor& input : inputs) input = PadTo(input, 2, sizes.padded);
  if (segments.defined()) inputs.insert(inputs.end(), 2, SegmentRows(segments, sizes));
  const std::vector<Tensor> results =
      pallas::PallasCall(ForwardSpec(o, sizes, q.dtype(), segments.defined()),
                         [&](const KernelRefs& r) { ForwardBody(o, sizes, r); }, inputs,
                         {.mode = target.mode, .chip = target.chip});
  return {SliceAxis(results[0], 2, 0, sizes.length), SliceAxis(results[1], 3, 0, sizes.length)};
}

Tensor FlashAttention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& segments,
                      const KernelTarget& target, const FlashOptions& options) {
  if (target.mode == pallas::Mode::kReference) {
    return FlashForward(q, k, v, segments, target, options).out;
  }
  return CustomVjp(
      {q, k, v},
      [&](std::span<const Tensor> p) -> CustomVjpOutput {
        const FlashOutput forward = FlashForward(p[0], p[1], p[2], segments, target, options);
        std::vector<Tensor> residuals = {p[0], p[1], p[2], forward.out, forward.log_sum};
        if (segments.defined()) residuals.push_back(segments);
        return {.outputs = {forward.out}, .residuals = std::move(residuals)};
      },
      [target, options](std::span<const Tensor> saved, std::span<const Tensor> grads) {
        return flash::Backward(target, options, saved[0], saved[1], saved[2],
                               saved.size() > 5 ? saved[5] : Tensor(), {saved[3], saved[4]},
                               grads[0]);
      })[0];
}

}  // namespace sophia::kernels
