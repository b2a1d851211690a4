#include "sophia/nn/loss.h"

#include <algorithm>

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/graph/ops/special_ops.h"

namespace sophia::nn {
namespace {

struct ChunkLoss {
  Tensor loss;      // f32 [C]
  Tensor gradient;  // of the hidden states, [C, D]
};

ChunkLoss LossOfChunk(const Tensor& hidden, const Tensor& head, const Tensor& labels) {
  const Tensor logits = MatMul(hidden, head, {.transposed = true, .result = DType::kF32});
  const Tensor max = ReduceMax(logits, {-1}, {.keep_dims = true});
  const Tensor exponentials = Exp(logits - max);
  const Tensor sum = Sum(exponentials, {-1}, {.keep_dims = true});
  const Tensor column = ExpandDims(labels, 1);
  const Tensor is_label = Eq(Iota({DType::kS32, logits.dims()}, 1), column);
  const Tensor picked = Sum(Select(is_label, logits, 0.0), {-1});
  const Tensor counts = Ge(labels, 0.0);
  const Tensor loss = Squeeze(Log(sum) + max, 1) - picked;
  const Tensor error = exponentials / sum - Convert(is_label, DType::kF32);
  const Tensor counted = Select(ExpandDims(counts, 1), error, 0.0);
  return {Select(counts, loss, 0.0), MatMul(Convert(counted, hidden.dtype()), head)};
}

}  // namespace

Tensor LinearCrossEntropy(const Tensor& hidden, const Tensor& head, const Tensor& labels,
                          int64_t chunk) {
  const int64_t rows = hidden.dim(0);
  const int64_t size = hidden.dim(1);
  const int64_t step = std::min(chunk, rows);
  const int64_t chunks = (rows + step - 1) / step;
  const int64_t padding = chunks * step - rows;
  const auto forward = [&](std::span<const Tensor> primals) -> CustomVjpOutput {
    const Tensor zero = Scalar(hidden.dtype(), 0);
    const Tensor ignored = Scalar(DType::kS32, kIgnoredLabel);
    const Tensor padded = Pad(primals[0], zero, {0, 0}, {padding, 0}, {0, 0});
    const Tensor padded_labels = Pad(labels, ignored, {0}, {padding}, {0});
    const ScanResult result = Scan(
        [&](std::span<const Tensor>, std::span<const Tensor> x) -> ScanStep {
          const ChunkLoss loss = LossOfChunk(x[0], head, x[1]);
          return {{}, {loss.loss, loss.gradient}};
        },
        {}, {Reshape(padded, {chunks, step, size}), Reshape(padded_labels, {chunks, step})});
    const Tensor loss = SliceAxis(Reshape(result.ys[0], {chunks * step}), 0, 0, rows);
    const Tensor gradient = SliceAxis(Reshape(result.ys[1], {chunks * step, size}), 0, 0, rows);
    return {.outputs = {loss}, .residuals = {gradient}};
  };
  const auto backward = [](std::span<const Tensor> residuals, std::span<const Tensor> cotangents) {
    const Tensor weight = Convert(ExpandDims(cotangents[0], 1), residuals[0].dtype());
    return std::vector{residuals[0] * weight};
  };
  return CustomVjp({hidden}, forward, backward)[0];
}

}  // namespace sophia::nn
