#include "sophia/graph/ops/slice_ops.h"
#include "sophia/kernels/cross_entropy_blocks.h"

namespace sophia::kernels::cross_entropy {
namespace {

using pallas::KernelRefs;
using pallas::Ref;
using pallas::Val;

// in: hidden, head, labels, log-sum-exp, cotangents, scales; out: the gradient; scratch: logits,
// their gradient, the sum of gradients, then labels, log-sum-exp and cotangents of the tokens.

// Gradient of h·W' of one pair of blocks into scratch. `row`: of the head, for each element.
void StoreLogitGradient(const Problem& p, const KernelRefs& r, const Val& row, bool is_ragged) {
  const Logits logits = LogitsOf(p, r, r.scratch[0]);
  const Val softmax = pallas::Exp(logits.value - ColumnIn(r.scratch[4]));
  const Val is_label = pallas::Eq(row, ColumnIn(r.scratch[3]));
  Val grad = pallas::Select(is_label, softmax - 1.0, softmax) * ColumnIn(r.scratch[5]);
  if (logits.slope.defined()) grad = grad * logits.slope;
  if (is_ragged) grad = pallas::Select(row < p.vocab, grad, 0.0);
  r.scratch[1].Store(pallas::Convert(grad, p.operands));
}

// Adds the product with one block of the head. What lies behind the head's last row is garbage,
// which zeros in the other operand do not silence.
void AddBlock(const Problem& p, const KernelRefs& r, const Val& j, bool is_ragged) {
  const Dims& logits = r.scratch[0].dims();
  StoreLogitGradient(p, r, pallas::Iota(logits, 1) + j * logits[1], is_ragged);
  ForParts(p.size, [&](const pallas::Index& lanes) {
    Val head = Operand(p, r.in[1].At({pallas::All{}, lanes}));
    if (is_ragged) {
      const Val row = pallas::Iota(head.dims(), 0) + j * head.dim(0);
      head = pallas::Select(row < p.vocab, head, 0.0);
    }
    const Ref sum = r.scratch[2].At({pallas::All{}, lanes});
    sum.Store(pallas::Dot(r.scratch[1].Load(), head, {.acc = sum.Load()}));
  });
}

void BackwardBody(const Problem& p, const KernelRefs& r) {
  const Val j = pallas::ProgramId(1);
  const Val last = pallas::Eq(j, pallas::NumPrograms(1) - 1);
  pallas::When(pallas::Eq(j, 0), [&] {
    r.scratch[2].Store(0.0);
    for (size_t i = 0; i < 3; ++i) r.scratch[3 + i].Store(LanesOf(r.in[2 + i].Load()));
  });
  if (p.vocab % r.in[1].dim(0) == 0) {
    AddBlock(p, r, j, false);
  } else {
    pallas::When(
        last, [&] { AddBlock(p, r, j, true); }, [&] { AddBlock(p, r, j, false); });
  }
  pallas::When(last, [&] {
    ForParts(p.size, [&](const pallas::Index& lanes) {
      const Val sum = r.scratch[2].At({pallas::All{}, lanes}).Load();
      r.out[0].At({pallas::All{}, lanes}).Store(pallas::Convert(sum, p.hidden));
    });
  });
}

}  // namespace

Tensor HiddenGradient(const Problem& p, const KernelTarget& target, const CrossEntropyBlocks& asked,
                      const std::vector<Tensor>& operands) {
  const CrossEntropyBlocks blocks = BlocksFor(Pass::kBackward, p, target.chip, asked);
  pallas::KernelSpec spec = SpecFor(Pass::kBackward, p, blocks, target.chip, 3);
  spec.out_shapes = {{p.hidden, {p.padded, p.size}}};
  spec.out_specs = {TokenSpec(p, blocks)};
  const Dims lanes = {blocks.tokens, kLanes};
  spec.scratch_shapes = {pallas::Vmem(DType::kF32, {blocks.tokens, blocks.vocab}),
                         pallas::Vmem(p.operands, {blocks.tokens, blocks.vocab}),
                         pallas::Vmem(DType::kF32, {blocks.tokens, p.size}),
                         pallas::Vmem(DType::kS32, lanes),
                         pallas::Vmem(DType::kF32, lanes),
                         pallas::Vmem(DType::kF32, lanes)};
  const Tensor grad = pallas::PallasCall(
      spec, [&](const KernelRefs& r) { BackwardBody(p, r); }, operands, CallOf(target))[0];
  return SliceAxis(grad, 0, 0, p.tokens);
}

}  // namespace sophia::kernels::cross_entropy
