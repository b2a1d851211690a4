#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/kernels/flash_blocks.h"

namespace sophia::kernels::flash {
namespace {

using pallas::BlockSpec;
using pallas::GridIndex;
using pallas::KernelRefs;
using pallas::Ref;
using pallas::Val;
using enum pallas::DimensionSemantics;

// Operands of the kernels of gradients behind the prefetched bounds, in order; bounds and segments
// only if there are segments.
enum Operand : uint8_t { kQ, kK, kV, kGrad, kLogSum, kRowSum, kQuerySegments, kKeySegments };

// Weights P and gradients dS of the scores of one pair of blocks, keys first: f32 [block_k,
// block_q]. P = exp(S - logsumexp), dS = P ∘ (dO·V' - rowsum(dO ∘ O)), through the soft cap and the
// scale; S = scale · Q·K'.
struct Scores {
  Val weights, grads;
};
Scores ScoresOf(const Problem& p, const KernelRefs& r, const Val& q, const Val& k) {
  const auto product = [&](Operand keys, Operand queries) {
    const Val lhs = LoadBlock(p, r.in[keys]);
    return pallas::Dot(lhs, LoadBlock(p, r.in[queries]), {.transpose_rhs = true});
  };
  Val scores = product(kK, kQ) * p.mask.scale;
  Val slope;
  if (p.mask.soft_cap > 0) {
    const Val capped = pallas::Tanh(scores / p.mask.soft_cap);
    slope = 1.0 - capped * capped;
    scores = capped * p.mask.soft_cap;
  }
  Segments segments;
  if (p.has_segments()) segments = {r.in[kQuerySegments].Load(), r.in[kKeySegments].Load()};
  const Val visible = Visible(p, q, k, segments, true);
  Val weights = pallas::Exp(scores - r.in[kLogSum].Load());
  if (visible.defined()) weights = pallas::Select(visible, weights, 0.0);
  const Val grad_weights = product(kV, kGrad);
  Val grads = weights * (grad_weights - r.in[kRowSum].Load()) * p.mask.scale;
  if (slope.defined()) grads = grads * slope;
  return {weights, grads};
}

void Accumulate(const Ref& sum, const Val& lhs, const Val& rhs, bool transpose_lhs) {
  const Val narrow = pallas::Convert(lhs, rhs.dtype());
  sum.Store(pallas::Dot(narrow, rhs, {.transpose_lhs = transpose_lhs, .acc = sum.Load()}));
}

// Where in the grid heads and blocks stand.
struct Places {
  Place head, kv_head, query, key;
};
std::vector<BlockSpec> OperandSpecs(const Problem& p, const Places& at) {
  const BlockSpec queries = HeadBlock(p, p.blocks.q, at.head, at.query);
  const BlockSpec keys = HeadBlock(p, p.blocks.k, at.kv_head, at.key);
  const BlockSpec rows = StatisticsBlock(p, at.head, at.query);
  std::vector<BlockSpec> specs = {queries, keys, keys, queries, rows, rows};
  if (p.has_segments()) {
    specs.push_back(SegmentBlock(p.blocks.q, at.query));
    specs.push_back(SegmentBlock(p.blocks.k, at.key));
  }
  return specs;
}

// rowsum(dO ∘ O), f32 [B, H, 1, T], in the rounding of `out`.
Tensor RowSums(const Problem& p, const Tensor& out, const Tensor& grad) {
  const Place head = [](const GridIndex& i) { return i[1]; };
  const Place query = [](const GridIndex& i) { return i[2]; };
  const BlockSpec rows = HeadBlock(p, p.blocks.q, head, query);
  const int64_t elements = p.batch * p.heads * p.length * p.head_dim;
  const pallas::KernelSpec spec{
      .name = "flash_attention_rows",
      .grid = {p.batch, p.heads, p.query_blocks()},
      .dimension_semantics = {kParallel, kParallel, kParallel},
      .in_specs = {rows, rows},
      .out_shapes = {{DType::kF32, {p.batch, p.heads, 1, p.padded}}},
      .out_specs = {StatisticsBlock(p, head, query)},
      .cost_estimate = pallas::CostEstimate{.flops = 2 * elements,
                                            .bytes_accessed = 2 * ByteSize(p.dtype, elements)},
      .vmem_limit_bytes = VmemLimit(p.target.chip)};
  const auto body = [](const KernelRefs& r) {
    const Val product =
        pallas::Convert(r.in[0].Load(), DType::kF32) * pallas::Convert(r.in[1].Load(), DType::kF32);
    r.out[0].Store(RowOf(pallas::Sum(product, {1}, {.keep_dims = true})));
  };
  const std::vector<Tensor> operands = {p.ToKernel(out), p.ToKernel(grad)};
  return p.CutRows(pallas::PallasCall(spec, body, operands, CallOf(p.target))[0]);
}

Tensor QueryGradient(const Problem& p, const std::vector<Tensor>& operands) {
  const std::vector<BlockSpec> specs =
      OperandSpecs(p, {.head = [](const GridIndex& i) { return i[1]; },
                       .kv_head = [group = p.group()](const GridIndex& i) { return i[1] / group; },
                       .query = [](const GridIndex& i) { return i[2]; },
                       .key =
                           [p](const GridIndex& i) {
                             return VisibleKeyBlock(p, {i[0], i.prefetch}, i[2], i[3]);
                           }});
  const pallas::KernelSpec spec{
      .name = "flash_attention_dq",
      .grid = {p.batch, p.heads, p.query_blocks(), p.key_blocks()},
      .dimension_semantics = {kParallel, kParallel, kParallel, kArbitrary},
      .num_scalar_prefetch = p.has_segments() ? 1 : 0,
      .in_specs = specs,
      .out_shapes = {p.ArrayOf(p.heads)},
      .out_specs = {specs[kQ]},
      .scratch_shapes = {pallas::Vmem(DType::kF32, {p.blocks.q, p.head_dim})},
      .cost_estimate = p.Cost(3, 3 * p.heads, 2, p.blocks.q),
      .vmem_limit_bytes = VmemLimit(p.target.chip)};
  const auto body = [&](const KernelRefs& r) {
    const Val q = pallas::ProgramId(2);
    const Val j = pallas::ProgramId(3);
    const Ref& sum = r.scratch[0];
    pallas::When(pallas::Eq(j, 0), [&] { sum.Store(0.0); });
    pallas::When(pallas::Eq(j, VisibleKeyBlock(p, {pallas::ProgramId(0), r.prefetch}, q, j)), [&] {
      const Scores scores = ScoresOf(p, r, q, j);
      Accumulate(sum, scores.grads, LoadBlock(p, r.in[kK]), true);
    });
    pallas::When(pallas::Eq(j, pallas::NumPrograms(3) - 1),
                 [&] { r.out[0].Store(pallas::Convert(sum.Load(), r.out[0].dtype())); });
  };
  return pallas::PallasCall(spec, body, operands, CallOf(p.target))[0];
}

std::vector<Tensor> KeyGradients(const Problem& p, const std::vector<Tensor>& operands) {
  const std::vector<BlockSpec> specs = OperandSpecs(
      p, {.head = [group = p.group()](const GridIndex& i) { return i[1] * group + i[3]; },
          .kv_head = [](const GridIndex& i) { return i[1]; },
          .query =
              [p](const GridIndex& i) {
                return VisibleQueryBlock(p, {i[0], i.prefetch}, i[2], i[4]);
              },
          .key = [](const GridIndex& i) { return i[2]; }});
  const pallas::ScratchSpec sum = pallas::Vmem(DType::kF32, {p.blocks.k, p.head_dim});
  const pallas::KernelSpec spec{
      .name = "flash_attention_dkv",
      .grid = {p.batch, p.kv_heads, p.key_blocks(), p.group(), p.query_blocks()},
      .dimension_semantics = {kParallel, kParallel, kParallel, kArbitrary, kArbitrary},
      .num_scalar_prefetch = p.has_segments() ? 1 : 0,
      .in_specs = specs,
      .out_shapes = {p.ArrayOf(p.kv_heads), p.ArrayOf(p.kv_heads)},
      .out_specs = {specs[kK], specs[kV]},
      .scratch_shapes = {sum, sum},
      .cost_estimate = p.Cost(4, 4 * p.kv_heads, 2, p.blocks.k),
      .vmem_limit_bytes = VmemLimit(p.target.chip)};
  const auto body = [&](const KernelRefs& r) {
    const Val k = pallas::ProgramId(2);
    const Val head = pallas::ProgramId(3);
    const Val i = pallas::ProgramId(4);
    const Ref &dk = r.scratch[0], &dv = r.scratch[1];
    const Val is_first = pallas::Eq(head, 0);
    pallas::When(is_first & pallas::Eq(i, 0), [&] {
      dk.Store(0.0);
      dv.Store(0.0);
    });
    pallas::When(pallas::Eq(i, VisibleQueryBlock(p, {pallas::ProgramId(0), r.prefetch}, k, i)),
                 [&] {
                   const Scores scores = ScoresOf(p, r, i, k);
                   Accumulate(dv, scores.weights, LoadBlock(p, r.in[kGrad]), false);
                   Accumulate(dk, scores.grads, LoadBlock(p, r.in[kQ]), false);
                 });
    const Val is_last = pallas::Eq(head, pallas::NumPrograms(3) - 1);
    pallas::When(is_last & pallas::Eq(i, pallas::NumPrograms(4) - 1), [&] {
      r.out[0].Store(pallas::Convert(dk.Load(), r.out[0].dtype()));
      r.out[1].Store(pallas::Convert(dv.Load(), r.out[1].dtype()));
    });
  };
  return pallas::PallasCall(spec, body, operands, CallOf(p.target));
}

}  // namespace

std::vector<Tensor> Backward(const Tensor& q, const Tensor& k, const Tensor& v,
                             const FlashOutput& forward, const Tensor& grad,
                             const KernelTarget& target, const AttentionMask& mask,
                             const FlashBlocks& blocks) {
  using Bounds = Tensor (Problem::*)() const;
  const Tensor out_grad = Convert(grad, q.dtype());
  const auto problem = [&](FlashKernel kernel) {
    return ProblemOf(kernel, target, mask, blocks, q, k, v);
  };
  const Problem for_q = problem(FlashKernel::kQueryGradient);
  const Problem for_k = problem(FlashKernel::kKeyGradients);
  const Tensor sums = RowSums(for_q, forward.out, out_grad);
  const auto operands = [&](const Problem& p, Bounds bounds) {
    std::vector<Tensor> inputs;
    if (p.has_segments()) inputs.push_back((p.*bounds)());
    for (const Tensor& x : {q, k, v, out_grad}) inputs.push_back(p.ToKernel(x));
    for (const Tensor& row : {forward.log_sum, sums}) inputs.push_back(p.PadRows(row));
    if (p.has_segments()) inputs.insert(inputs.end(), 2, p.SegmentRows());
    return inputs;
  };
  std::vector<Tensor> grads = {
      for_q.FromKernel(QueryGradient(for_q, operands(for_q, &Problem::KeyBounds)), for_q.heads)};
  for (const Tensor& g : KeyGradients(for_k, operands(for_k, &Problem::QueryBounds))) {
    grads.push_back(for_k.FromKernel(g, for_k.kv_heads));
  }
  return grads;
}

}  // namespace sophia::kernels::flash
