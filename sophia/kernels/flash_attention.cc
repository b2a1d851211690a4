#include "sophia/kernels/flash_attention.h"

#include "sophia/base/error.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/kernels/flash_blocks.h"

namespace sophia::kernels {
namespace flash {
namespace {

using pallas::BlockSpec;
using pallas::GridIndex;
using pallas::KernelRefs;
using pallas::Ref;
using pallas::Val;
using enum pallas::DimensionSemantics;

void ForwardBody(const Problem& p, const KernelRefs& r) {
  const AttentionMask& mask = p.mask;
  const Val q = pallas::ProgramId(2);
  const Val j = pallas::ProgramId(3);
  const Ref &max = r.scratch[0], &sum = r.scratch[1], &mix = r.scratch[2];
  pallas::When(pallas::Eq(j, 0), [&] {
    max.Store(kMasked);
    sum.Store(0.0);
    mix.Store(0.0);
  });
  pallas::When(pallas::Eq(j, VisibleKeyBlock(p, {pallas::ProgramId(0), r.prefetch}, q, j)), [&] {
    const Val queries = LoadBlock(p, r.in[0]);
    const Val keys = LoadBlock(p, r.in[1]);
    const Val values = LoadBlock(p, r.in[2]);
    Val scores = pallas::Dot(queries, keys, {.transpose_rhs = true}) * mask.scale;
    if (mask.soft_cap > 0) scores = pallas::Tanh(scores / mask.soft_cap) * mask.soft_cap;
    Segments segments;
    if (p.has_segments()) segments = {r.in[3].Load(), r.in[4].Load()};
    const Val visible = Visible(p, q, j, segments, false);
    if (visible.defined()) scores = pallas::Select(visible, scores, kMasked);
    const Val before = pallas::SliceAxis(max.Load(), 1, 0, 1);
    const Val now = pallas::Max(before, pallas::ReduceMax(scores, {1}, {.keep_dims = true}));
    Val weights = pallas::Exp(scores - now);
    if (visible.defined()) weights = pallas::Select(visible, weights, 0.0);
    const Val shrink = pallas::Exp(before - now);
    const Val kept = pallas::SliceAxis(sum.Load(), 1, 0, 1) * shrink;
    const Val total = kept + pallas::Sum(weights, {1}, {.keep_dims = true});
    sum.Store(pallas::BroadcastTo(total, sum.dims()));
    max.Store(pallas::BroadcastTo(now, max.dims()));
    const Val mixed = mix.Load() * shrink;
    mix.Store(pallas::Dot(pallas::Convert(weights, values.dtype()), values, {.acc = mixed}));
  });
  pallas::When(pallas::Eq(j, pallas::NumPrograms(3) - 1), [&] {
    const Val total = pallas::SliceAxis(sum.Load(), 1, 0, 1);
    const Val seen = pallas::Select(total > 0.0, total, 1.0);
    r.out[0].Store(pallas::Convert(mix.Load() / seen, r.out[0].dtype()));
    const Val highest = pallas::SliceAxis(max.Load(), 1, 0, 1);
    r.out[1].Store(RowOf(highest + pallas::Log(seen)));
  });
}

pallas::KernelSpec ForwardSpec(const Problem& p) {
  const Place head = [](const GridIndex& i) { return i[1]; };
  const Place kv_head = [group = p.group()](const GridIndex& i) { return i[1] / group; };
  const Place query = [](const GridIndex& i) { return i[2]; };
  const Place key = [p](const GridIndex& i) {
    return VisibleKeyBlock(p, {i[0], i.prefetch}, i[2], i[3]);
  };
  const BlockSpec queries = HeadBlock(p, p.blocks.q, head, query);
  const BlockSpec keys = HeadBlock(p, p.blocks.k, kv_head, key);
  pallas::KernelSpec spec{
      .name = "flash_attention",
      .grid = {p.batch, p.heads, p.query_blocks(), p.key_blocks()},
      .dimension_semantics = {kParallel, kParallel, kParallel, kArbitrary},
      .in_specs = {queries, keys, keys},
      .out_shapes = {p.ArrayOf(p.heads), {DType::kF32, {p.batch, p.heads, 1, p.padded}}},
      .out_specs = {queries, StatisticsBlock(p, head, query)},
      .scratch_shapes = {pallas::Vmem(DType::kF32, {p.blocks.q, kLanes}),
                         pallas::Vmem(DType::kF32, {p.blocks.q, kLanes}),
                         pallas::Vmem(DType::kF32, {p.blocks.q, p.head_dim})},
      .cost_estimate = p.Cost(2, 2 * p.heads, 2, p.blocks.q),
      .vmem_limit_bytes = VmemLimit(p.target.chip)};
  if (p.has_segments()) {
    spec.num_scalar_prefetch = 1;
    spec.in_specs.push_back(SegmentBlock(p.blocks.q, query));
    spec.in_specs.push_back(SegmentBlock(p.blocks.k, key));
  }
  return spec;
}

}  // namespace

FlashOutput Forward(const Tensor& q, const Tensor& k, const Tensor& v, const KernelTarget& target,
                    const AttentionMask& mask, const FlashBlocks& blocks) {
  const Problem p = ProblemOf(FlashKernel::kForward, target, mask, blocks, q, k, v);
  std::vector<Tensor> inputs = {p.ToKernel(q), p.ToKernel(k), p.ToKernel(v)};
  if (p.has_segments()) {
    inputs.insert(inputs.begin(), p.KeyBounds());
    inputs.insert(inputs.end(), 2, p.SegmentRows());
  }
  const std::vector<Tensor> results = pallas::PallasCall(
      ForwardSpec(p), [&](const KernelRefs& r) { ForwardBody(p, r); }, inputs, CallOf(target));
  return {p.FromKernel(results[0], p.heads), p.CutRows(results[1])};
}

}  // namespace flash

Tensor FlashAttention(const Tensor& q, const Tensor& k, const Tensor& v, const KernelTarget& target,
                      const AttentionMask& mask, const FlashBlocks& blocks) {
  SOPHIA_CHECK(!mask.positions.defined(), "flash attention knows no positions");
  if (target.mode == pallas::Mode::kReference) return ReferenceAttention(q, k, v, mask);
  return CustomVjp(
      {q, k, v},
      [&](std::span<const Tensor> in) -> CustomVjpOutput {
        const flash::FlashOutput forward =
            flash::Forward(in[0], in[1], in[2], target, mask, blocks);
        const Tensor out = CheckpointName(forward.out, kSavedAttention);
        const Tensor log_sum = CheckpointName(forward.log_sum, kSavedAttention);
        std::vector<Tensor> residuals = {in[0], in[1], in[2], out, log_sum};
        if (mask.segments.defined()) residuals.push_back(mask.segments);
        return {.outputs = {out}, .residuals = std::move(residuals)};
      },
      [target, mask, blocks](std::span<const Tensor> saved, std::span<const Tensor> grads) {
        AttentionMask again = mask;
        if (mask.segments.defined()) again.segments = saved[5];
        return flash::Backward(saved[0], saved[1], saved[2], {saved[3], saved[4]}, grads[0], target,
                               again, blocks);
      })[0];
}

}  // namespace sophia::kernels
