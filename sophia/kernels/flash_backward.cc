#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/kernels/flash_blocks.h"

namespace sophia::kernels::flash {
namespace {

using pallas::BlockIndex;
using pallas::BlockSpec;
using pallas::GridIndex;
using pallas::KernelRefs;
using pallas::Ref;
using pallas::Val;
using enum pallas::DimensionSemantics;

// Operands of both kernels: q, k, v, grad, log_sum, row_sum and, with segments, those of queries
// and keys.
struct Operands {
  std::vector<Tensor> inputs;
  bool has_segments;
  pallas::CallOptions call;
};

// Weights P and gradients dS of the scores of one pair of blocks, keys first: f32 [block_k,
// block_q]. P = exp(S - logsumexp), dS = P ∘ (dO·V' - rowsum(dO ∘ O)), through the soft cap and the
// scale; S = scale · Q·K'.
struct Scores {
  Val weights, grads;
};
Scores ScoresOf(const FlashOptions& o, const Sizes& sizes, const KernelRefs& r, const Val& q,
                const Val& k) {
  const auto block = [&](size_t i) { return r.in[i].At({0, 0}).Load(); };
  Val scores = pallas::Dot(block(1), block(0), {.transpose_rhs = true}) * o.scale;
  Val slope;
  if (o.soft_cap > 0) {
    const Val capped = pallas::Tanh(scores / o.soft_cap);
    slope = 1.0 - capped * capped;
    scores = capped * o.soft_cap;
  }
  Segments segments;
  if (r.in.size() > 6) segments = {r.in[6].At({0}).Load(), r.in[7].At({0}).Load()};
  const Val visible = Visible(o, sizes, q, k, segments, true);
  Val weights = pallas::Exp(scores - block(4));
  if (visible.defined()) weights = pallas::Select(visible, weights, 0.0);
  const Val grad_weights = pallas::Dot(block(2), block(3), {.transpose_rhs = true});
  Val grads = weights * (grad_weights - block(5)) * o.scale;
  if (slope.defined()) grads = grads * slope;
  return {weights, grads};
}

void Accumulate(const Ref& sum, const Val& lhs, const Val& rhs, bool transpose_lhs) {
  sum.Store(pallas::Dot(pallas::Convert(lhs, rhs.dtype()), rhs,
                        {.transpose_lhs = transpose_lhs, .acc = sum.Load()}));
}

// Specs of the operands, given the block indices of queries and keys.
using Place = std::function<Val(const GridIndex&)>;
struct Places {
  Place head, kv_head, query, key;
};
std::vector<BlockSpec> OperandSpecs(const FlashOptions& o, const Sizes& s, const Places& at,
                                    bool has_segments) {
  const BlockSpec queries{.block = {1, 1, o.block_q, s.head_dim},
                          .index_map = [at](const GridIndex& i) {
                            return BlockIndex{i[0], at.head(i), at.query(i), 0};
                          }};
  const BlockSpec keys{.block = {1, 1, o.block_k, s.head_dim},
                       .index_map = [at](const GridIndex& i) {
                         return BlockIndex{i[0], at.kv_head(i), at.key(i), 0};
                       }};
  const BlockSpec rows{.block = {1, 1, 1, o.block_q}, .index_map = [at](const GridIndex& i) {
                         return BlockIndex{i[0], at.head(i), 0, at.query(i)};
                       }};
  std::vector<BlockSpec> specs = {queries, keys, keys, queries, rows, rows};
  if (has_segments) {
    specs.push_back({.block = {1, 1, o.block_q}, .index_map = [at](const GridIndex& i) {
                       return BlockIndex{i[0], 0, at.query(i)};
                     }});
    specs.push_back({.block = {1, 1, o.block_k}, .index_map = [at](const GridIndex& i) {
                       return BlockIndex{i[0], 0, at.key(i)};
                     }});
  }
  return specs;
}

Tensor QueryGradient(const FlashOptions& o, const Sizes& s, const Operands& operands) {
  const Places at{.head = [](const GridIndex& i) { return i[1]; },
                  .kv_head = [group = s.group()](const GridIndex& i) { return i[1] / group; },
                  .query = [](const GridIndex& i) { return i[2]; },
                  .key = [o](const GridIndex& i) { return VisibleKeyBlock(o, i[2], i[3]); }};
  const std::vector<BlockSpec> specs = OperandSpecs(o, s, at, operands.has_segments);
  const pallas::KernelSpec spec{
      .name = "flash_attention_dq",
      .grid = {s.batch, s.heads, s.padded / o.block_q, s.padded / o.block_k},
      .dimension_semantics = {kParallel, kParallel, kParallel, kArbitrary},
      .in_specs = specs,
      .out_shapes = {operands.inputs[0].shape()},
      .out_specs = {specs[0]},
      .scratch_shapes = {pallas::Vmem(DType::kF32, {o.block_q, s.head_dim})}};
  const auto body = [&](const KernelRefs& r) {
    const Val q = pallas::ProgramId(2);
    const Val j = pallas::ProgramId(3);
    const Ref& sum = r.scratch[0];
    pallas::When(pallas::Eq(j, 0), [&] { sum.Store(0.0); });
    pallas::When(pallas::Eq(j, VisibleKeyBlock(o, q, j)), [&] {
      Accumulate(sum, ScoresOf(o, s, r, q, j).grads, r.in[1].At({0, 0}).Load(), true);
    });
    pallas::When(pallas::Eq(j, pallas::NumPrograms(3) - 1), [&] {
      r.out[0].At({0, 0}).Store(pallas::Convert(sum.Load(), r.out[0].dtype()));
    });
  };
  return pallas::PallasCall(spec, body, operands.inputs, operands.call)[0];
}

std::vector<Tensor> KeyGradients(const FlashOptions& o, const Sizes& s, const Operands& operands) {
  const Places at{
      .head = [group = s.group()](const GridIndex& i) { return i[1] * group + i[3]; },
      .kv_head = [](const GridIndex& i) { return i[1]; },
      .query = [o, s](const GridIndex& i) { return VisibleQueryBlock(o, s, i[2], i[4]); },
      .key = [](const GridIndex& i) { return i[2]; }};
  const std::vector<BlockSpec> specs = OperandSpecs(o, s, at, operands.has_segments);
  const pallas::ScratchSpec sum = pallas::Vmem(DType::kF32, {o.block_k, s.head_dim});
  const pallas::KernelSpec spec{
      .name = "flash_attention_dkv",
      .grid = {s.batch, s.kv_heads, s.padded / o.block_k, s.group(), s.padded / o.block_q},
      .dimension_semantics = {kParallel, kParallel, kParallel, kArbitrary, kArbitrary},
      .in_specs = specs,
      .out_shapes = {operands.inputs[1].shape(), operands.inputs[2].shape()},
      .out_specs = {specs[1], specs[1]},
      .scratch_shapes = {sum, sum}};
  const auto body = [&](const KernelRefs& r) {
    const Val k = pallas::ProgramId(2);
    const Val head = pallas::ProgramId(3);
    const Val i = pallas::ProgramId(4);
    const Ref &dk = r.scratch[0], &dv = r.scratch[1];
    pallas::When(pallas::Eq(head, 0) & pallas::Eq(i, 0), [&] {
      dk.Store(0.0);
      dv.Store(0.0);
    });
    pallas::When(pallas::Eq(i, VisibleQueryBlock(o, s, k, i)), [&] {
      const Scores scores = ScoresOf(o, s, r, i, k);
      Accumulate(dv, scores.weights, r.in[3].At({0, 0}).Load(), false);
      Accumulate(dk, scores.grads, r.in[0].At({0, 0}).Load(), false);
    });
    const Val last =
        pallas::Eq(head, pallas::NumPrograms(3) - 1) & pallas::Eq(i, pallas::NumPrograms(4) - 1);
    pallas::When(last, [&] {
      r.out[0].At({0, 0}).Store(pallas::Convert(dk.Load(), r.out[0].dtype()));
      r.out[1].At({0, 0}).Store(pallas::Convert(dv.Load(), r.out[1].dtype()));
    });
  };
  return pallas::PallasCall(spec, body, operands.inputs, operands.call);
}

}  // namespace

std::vector<Tensor> Backward(const KernelTarget& target, const FlashOptions& options,
                             const Tensor& q, const Tensor& k, const Tensor& v,
                             const Tensor& segments, const FlashOutput& forward,
                             const Tensor& grad) {
  FlashOptions o = options;
  const Sizes sizes = SizesFor(q, k, v, o);
  const Tensor product = Convert(grad, DType::kF32) * Convert(forward.out, DType::kF32);
  const Tensor row_sum = Reshape(Sum(product, {-1}), {sizes.batch, sizes.heads, 1, sizes.length});
  Operands operands{.has_segments = segments.defined(),
                    .call = {.mode = target.mode, .chip = target.chip}};
  for (const Tensor& operand : {q, k, v, Convert(grad, q.dtype())}) {
    operands.inputs.push_back(PadTo(operand, 2, sizes.padded));
  }
  for (const Tensor& row : {forward.log_sum, row_sum}) {
    operands.inputs.push_back(PadTo(row, 3, sizes.padded));
  }
  if (segments.defined()) {
    operands.inputs.insert(operands.inputs.end(), 2, SegmentRows(segments, sizes));
  }
  std::vector<Tensor> grads = {QueryGradient(o, sizes, operands)};
  for (const Tensor& g : KeyGradients(o, sizes, operands)) grads.push_back(g);
  for (Tensor& g : grads) g = SliceAxis(g, 2, 0, sizes.length);
  return grads;
}

}  // namespace sophia::kernels::flash
