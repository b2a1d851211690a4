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

// Tokens whose logits exist at a time while the head's gradient, as large as the head, is added up.
constexpr int64_t kHeadChunk = 512;

struct ChunkLoss {
  Tensor loss;   // f32 [C]
  Tensor error;  // its derivative by the logits of hidden · headᵀ, f32 [C, V]
};

// Rows of zeros, or of `value`, behind those of x: [N, …] -> [chunks, step, …].
Tensor InChunks(const Tensor& x, int64_t chunks, int64_t step, double value = 0) {
  Dims dims = x.dims();
  dims[0] = step;
  dims.insert(dims.begin(), chunks);
  return Reshape(PadEnd(x, 0, chunks * step, value), dims);
}

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
  return {Select(counts, loss, 0.0), Select(ExpandDims(counts, 1), error, 0.0)};
}

}  // namespace

Tensor Reference(const Problem& p, const std::vector<Tensor>& primals, const Tensor& labels,
                 int64_t chunk) {
  const int64_t step = std::min(chunk, p.tokens);
  const int64_t chunks = CeilDiv(p.tokens, step);
  const auto forward = [&](std::span<const Tensor> in) -> CustomVjpOutput {
    const Tensor head = Convert(in[1], p.hidden);
    const Tensor scale = p.has_scale ? Reshape(in[2], {1, p.vocab}) : Tensor();
    const ScanResult result = Scan(
        [&](std::span<const Tensor>, std::span<const Tensor> x) -> ScanStep {
          const ChunkLoss loss = LossOfChunk(x[0], head, scale, x[1], p.soft_cap);
          return {{}, {loss.loss, MatMul(Convert(loss.error, p.hidden), head)}};
        },
        {}, {InChunks(in[0], chunks, step), InChunks(labels, chunks, step, kIgnoredLabel)});
    const Tensor loss = SliceAxis(Reshape(result.ys[0], {chunks * step}), 0, 0, p.tokens);
    const Tensor gradient =
        SliceAxis(Reshape(result.ys[1], {chunks * step, p.size}), 0, 0, p.tokens);
    return {.outputs = {loss}, .residuals = {gradient, in[0], in[1]}};
  };
  const auto backward = [p, labels](std::span<const Tensor> residuals,
                                    std::span<const Tensor> cotangents,
                                    const std::vector<bool>& wanted) {
    const Tensor weight = Convert(ExpandDims(cotangents[0], 1), residuals[0].dtype());
    std::vector<Tensor> grads(wanted.size());
    grads[0] = residuals[0] * weight;
    if (WantsHead(p, wanted)) {
      grads[1] = HeadGradient(p, residuals[1], residuals[2], labels, cotangents[0]);
    }
    return grads;
  };
  return CustomVjp(primals, forward, backward)[0];
}

bool WantsHead(const Problem& p, const std::vector<bool>& wanted) {
  const bool wants = wanted[1] || (p.has_scale && wanted[2]);
  if (wants && p.has_scale) {
    Fail("linear_cross_entropy",
         "expected a head of bf16 or f32 where its gradient is asked for, got s8");
  }
  return wants;
}

Tensor HeadGradient(const Problem& p, const Tensor& hidden, const Tensor& head,
                    const Tensor& labels, const Tensor& grad) {
  const int64_t step = std::min(kHeadChunk, p.tokens);
  const int64_t chunks = CeilDiv(p.tokens, step);
  const Tensor rows = Convert(head, p.hidden);
  const ScanResult sum = Scan(
      [&](std::span<const Tensor> carry, std::span<const Tensor> x) -> ScanStep {
        const Tensor error =
            LossOfChunk(x[0], rows, {}, x[1], p.soft_cap).error * ExpandDims(x[2], 1);
        const Tensor transposed = Transpose(Convert(error, p.hidden), {1, 0});
        return {{carry[0] + MatMul(transposed, x[0], {.result = DType::kF32})}};
      },
      {Full({DType::kF32, {p.vocab, p.size}}, 0)},
      {InChunks(hidden, chunks, step), InChunks(labels, chunks, step, kIgnoredLabel),
       InChunks(grad, chunks, step)});
  return Convert(sum.carry[0], head.dtype());
}

}  // namespace sophia::kernels::cross_entropy
