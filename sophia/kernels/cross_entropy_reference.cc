#include <algorithm>

#include "sophia/base/rounding.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/kernels/cross_entropy_blocks.h"

namespace sophia::kernels::cross_entropy {
namespace {

struct ChunkLoss {
  Tensor loss;      // f32 [C]
  Tensor gradient;  // of the hidden states, [C, D]
};

// head: [V, D] of hidden's type; scale: f32 [1, V] or undefined.
ChunkLoss LossOfChunk(const Tensor& hidden, const Tensor& head, const Tensor& scale,
                      const Tensor& labels, double soft_cap) {
  Tensor logits = MatMul(hidden, head, {.transposed = true, .result = DType::kF32});
  if (scale.defined()) logits = logits * scale;
  Tensor capped;
  if (soft_cap > 0) {
    capped = Tanh(logits / soft_cap);
    logits = capped * soft_cap;
  }
  const Tensor max = ReduceMax(logits, {-1}, {.keep_dims = true});
  const Tensor exponentials = Exp(logits - max);
  const Tensor sum = Sum(exponentials, {-1}, {.keep_dims = true});
  const Tensor column = ExpandDims(labels, 1);
  const Tensor is_label = Eq(Iota({DType::kS32, logits.dims()}, 1), column);
  const Tensor picked = Sum(Select(is_label, logits, 0.0), {-1});
  const Tensor counts = Ge(labels, 0.0);
  const Tensor loss = Squeeze(Log(sum) + max, 1) - picked;
  Tensor error = exponentials / sum - Convert(is_label, DType::kF32);
  if (capped.defined()) error = error * (1.0 - capped * capped);
  if (scale.defined()) error = error * scale;
  const Tensor counted = Select(ExpandDims(counts, 1), error, 0.0);
  return {Select(counts, loss, 0.0), MatMul(Convert(counted, hidden.dtype()), head)};
}

}  // namespace

Tensor Reference(const Problem& p, const std::vector<Tensor>& primals, const Tensor& labels,
                 int64_t chunk) {
  const int64_t step = std::min(chunk, p.tokens);
  const int64_t chunks = CeilDiv(p.tokens, step);
  const int64_t padding = chunks * step - p.tokens;
  const auto forward = [&](std::span<const Tensor> in) -> CustomVjpOutput {
    const Tensor zero = Scalar(p.hidden, 0);
    const Tensor ignored = Scalar(DType::kS32, kIgnoredLabel);
    const Tensor padded = Pad(in[0], zero, {0, 0}, {padding, 0}, {0, 0});
    const Tensor padded_labels = Pad(labels, ignored, {0}, {padding}, {0});
    const Tensor head = Convert(in[1], p.hidden);
    const Tensor scale = p.has_scale ? Reshape(in[2], {1, p.vocab}) : Tensor();
    const ScanResult result = Scan(
        [&](std::span<const Tensor>, std::span<const Tensor> x) -> ScanStep {
          const ChunkLoss loss = LossOfChunk(x[0], head, scale, x[1], p.soft_cap);
          return {{}, {loss.loss, loss.gradient}};
        },
        {}, {Reshape(padded, {chunks, step, p.size}), Reshape(padded_labels, {chunks, step})});
    const Tensor loss = SliceAxis(Reshape(result.ys[0], {chunks * step}), 0, 0, p.tokens);
    const Tensor gradient =
        SliceAxis(Reshape(result.ys[1], {chunks * step, p.size}), 0, 0, p.tokens);
    return {.outputs = {loss}, .residuals = {gradient}};
  };
  const auto backward = [](std::span<const Tensor> residuals, std::span<const Tensor> cotangents,
                           const std::vector<bool>& wanted) {
    RefuseHeadGradient(wanted);
    const Tensor weight = Convert(ExpandDims(cotangents[0], 1), residuals[0].dtype());
    std::vector<Tensor> grads(wanted.size());
    grads[0] = residuals[0] * weight;
    return grads;
  };
  return CustomVjp(primals, forward, backward)[0];
}

}  // namespace sophia::kernels::cross_entropy
