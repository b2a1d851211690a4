#include "sophia/kernels/linear_cross_entropy.h"

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/kernels/cross_entropy_blocks.h"

namespace sophia::kernels {
namespace {

using cross_entropy::BlocksFor;
using cross_entropy::ColumnIn;
using cross_entropy::kLanes;
using cross_entropy::Pass;
using cross_entropy::Problem;
using pallas::KernelRefs;
using pallas::Ref;
using pallas::Val;

constexpr double kMasked = -1e30;

// in: hidden, head, labels, scales; out: loss, log-sum-exp; scratch: logits, then for each token
// the running maximum, sum of exponentials and logit of the label, and its label.
void ForwardBody(const Problem& p, const KernelRefs& r) {
  const Val j = pallas::ProgramId(1);
  const Ref &max = r.scratch[1], &sum = r.scratch[2], &picked = r.scratch[3];
  const Ref& labels = r.scratch[4];
  pallas::When(pallas::Eq(j, 0), [&] {
    max.Store(kMasked);
    sum.Store(0.0);
    picked.Store(0.0);
    labels.Store(cross_entropy::LanesOf(r.in[2].Load()));
  });
  Val logits = cross_entropy::LogitsOf(p, r, r.scratch[0]).value;
  const Val row = pallas::Iota(logits.dims(), 1) + j * logits.dim(1);  // of the head
  if (p.vocab % logits.dim(1) != 0) logits = pallas::Select(row < p.vocab, logits, kMasked);
  const Val label = pallas::Select(pallas::Eq(row, ColumnIn(labels)), logits, 0.0);
  const Val before = ColumnIn(max);
  const Val now = pallas::Max(before, pallas::ReduceMax(logits, {1}, {.keep_dims = true}));
  const Val total = ColumnIn(sum) * pallas::Exp(before - now) +
                    pallas::Sum(pallas::Exp(logits - now), {1}, {.keep_dims = true});
  const Val found = ColumnIn(picked) + pallas::Sum(label, {1}, {.keep_dims = true});
  max.Store(pallas::BroadcastTo(now, max.dims()));
  sum.Store(pallas::BroadcastTo(total, sum.dims()));
  picked.Store(pallas::BroadcastTo(found, picked.dims()));
  pallas::When(pallas::Eq(j, pallas::NumPrograms(1) - 1), [&] {
    const Val log_sum = max.Load() + pallas::Log(sum.Load());
    const auto row_of = [](const Val& lanes) {
      return pallas::SliceAxis(pallas::Transpose(lanes), 0, 0, 1);
    };
    const Val loss = pallas::Select(labels.Load() >= 0, log_sum - picked.Load(), 0.0);
    r.out[0].Store(row_of(loss));
    r.out[1].Store(row_of(log_sum));
  });
}

struct Rows {
  Tensor loss, log_sum;  // f32 [1, padded]
};
Rows Forward(const Problem& p, const KernelTarget& target, const CrossEntropyBlocks& asked,
             const std::vector<Tensor>& operands) {
  const CrossEntropyBlocks blocks = BlocksFor(Pass::kForward, p, target.chip, asked);
  pallas::KernelSpec spec = SpecFor(Pass::kForward, p, blocks, target.chip, 1);
  spec.out_shapes.assign(2, {DType::kF32, {1, p.padded}});
  spec.out_specs.assign(2, cross_entropy::RowSpec(blocks));
  const Dims lanes = {blocks.tokens, kLanes};
  spec.scratch_shapes = {pallas::Vmem(DType::kF32, {blocks.tokens, blocks.vocab}),
                         pallas::Vmem(DType::kF32, lanes), pallas::Vmem(DType::kF32, lanes),
                         pallas::Vmem(DType::kF32, lanes), pallas::Vmem(DType::kS32, lanes)};
  const std::vector<Tensor> results = pallas::PallasCall(
      spec, [&](const KernelRefs& r) { ForwardBody(p, r); }, operands, CallOf(target));
  return {results[0], results[1]};
}

Tensor PaddedRow(const Problem& p, const Tensor& values) {
  return PadEnd(Reshape(values, {1, p.tokens}), 1, p.padded);
}

}  // namespace

Tensor LinearCrossEntropy(const Tensor& hidden, const Tensor& head, const Tensor& labels,
                          const KernelTarget& target, const LinearCrossEntropyOptions& options) {
  const Problem p = cross_entropy::ProblemFor(hidden, head, labels, target, options);
  std::vector<Tensor> primals = {hidden, head};
  if (p.has_scale) primals.push_back(options.head_scale);
  if (target.mode == pallas::Mode::kReference) {
    return cross_entropy::Reference(p, primals, labels, options.chunk);
  }
  return CustomVjp(
      primals,
      [&](std::span<const Tensor> in) -> CustomVjpOutput {
        std::vector<Tensor> operands = {PadEnd(in[0], 0, p.padded), in[1], PaddedRow(p, labels)};
        if (p.has_scale) operands.push_back(Reshape(in[2], {1, p.vocab}));
        const Rows rows = Forward(p, target, options.forward, operands);
        operands.insert(operands.begin() + 3, rows.log_sum);
        return {.outputs = {Reshape(SliceAxis(rows.loss, 1, 0, p.tokens), {p.tokens})},
                .residuals = operands};
      },
      [p, target, asked = options.backward](std::span<const Tensor> saved,
                                            std::span<const Tensor> cotangents,
                                            const std::vector<bool>& wanted) {
        std::vector<Tensor> operands(saved.begin(), saved.end());
        const Tensor grad = PaddedRow(p, cotangents[0]);
        operands.insert(operands.begin() + 4, Select(Ge(saved[2], 0.0), grad, 0.0));
        std::vector<Tensor> grads(wanted.size());
        grads[0] = cross_entropy::HiddenGradient(p, target, asked, operands);
        if (cross_entropy::WantsHead(p, wanted)) {
          const auto own = [&](const Tensor& padded) {
            return Reshape(SliceAxis(padded, 1, 0, p.tokens), {p.tokens});
          };
          grads[1] = cross_entropy::HeadGradient(p, SliceAxis(saved[0], 0, 0, p.tokens), saved[1],
                                                 own(saved[2]), cotangents[0]);
        }
        return grads;
      })[0];
}

}  // namespace sophia::kernels
