#include "tests/opcheck/layers.h"

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/nn/attention.h"
#include "sophia/nn/isomorphism.h"
#include "sophia/nn/loss.h"
#include "sophia/nn/rope.h"

namespace sophia {
namespace {

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;

constexpr double kStep = 1e-2;
constexpr double kTolerance = 1e-3;

OpSample Attention(const std::string& name, int64_t heads, int64_t kv_heads, bool causal) {
  return {
      .name = name,
      .inputs = {{DType::kF32, {2, 5, heads, 4}},
                 {DType::kF32, {2, 5, kv_heads, 4}},
                 {DType::kF32, {2, 5, kv_heads, 4}}},
      .call = [causal](In in) { return Out{nn::Attend(in[0], in[1], in[2], {.causal = causal})}; },
      .low = -1,
      .high = 1,
      .step = kStep,
      .tolerance = kTolerance};
}

// Two queries a row, at other places of five keys than the first two; a scan attends twice.
OpSample AttentionAtPositions() {
  return {.name = "nn/attend/positions",
          .inputs = {{DType::kF32, {2, 2, 4, 4}},
                     {DType::kF32, {2, 5, 2, 4}},
                     {DType::kF32, {2, 5, 2, 4}}},
          .call =
              [](In in) {
                const Tensor positions = ConstantS32({2, 2}, {1, 2, 3, 4});
                const ScanBody body = [&](In carry, In) -> ScanStep {
                  return {{nn::Attend(carry[0], in[1], in[2], {.positions = positions})}};
                };
                return Scan(body, {in[0]}, {}, {.length = 2, .remat = Remat::Nothing()}).carry;
              },
          .low = -1,
          .high = 1,
          .step = kStep,
          .tolerance = kTolerance};
}

// Seven rows in chunks of three, two of them without a label. The head is held fixed.
Tensor HeadLoss(const Tensor& hidden) {
  std::vector<float> head;
  for (int i = 0; i < 11 * 4; ++i) head.push_back(static_cast<float>((i * 7) % 13 - 6) / 8.0f);
  const Tensor labels = ConstantS32({7}, {3, -100, 0, 10, 5, -100, 7});
  return nn::LinearCrossEntropy(hidden, Convert(ConstantF32({11, 4}, head), hidden.dtype()), labels,
                                {}, {.chunk = 3});
}

Tensor Rotated(const Tensor& x) {
  const Tensor positions = ConstantS32({2, 3}, {0, 1, 2, 5, 6, 7});
  return kernels::Rotary(x, x, nn::MakeRopeTable({.theta = 100}, positions, x.dim(-1)), {}).q;
}

// Two layers of seven tokens, of which one does not count; widths 5 and 4.
Out Measures(In in) {
  const Tensor place = Iota({DType::kS32, {7}}, 0);
  const Tensor counted = Convert(Ne(place, 2.0), DType::kF32);
  const nn::IsomorphismMeasures measures = nn::MeasureIsomorphism(in[0], in[1], counted);
  return {measures.cka, measures.distance_loss};
}

}  // namespace

std::vector<OpSample> LayerSamples() {
  return {Attention("nn/attend", 2, 2, true),
          Attention("nn/attend/grouped", 6, 2, true),
          Attention("nn/attend/bidirectional", 4, 1, false),
          AttentionAtPositions(),
          {.name = "nn/linear_cross_entropy",
           .inputs = {{DType::kF32, {7, 4}}},
           .call = [](In in) { return Out{HeadLoss(in[0])}; },
           .step = kStep,
           .tolerance = kTolerance},
          {.name = "nn/isomorphism",
           .inputs = {{DType::kF32, {2, 7, 5}}, {DType::kF32, {2, 7, 4}}},
           .call = Measures,
           .low = -1,
           .high = 1,
           .step = kStep,
           .tolerance = kTolerance},
          {.name = "nn/rope",
           .inputs = {{DType::kF32, {2, 3, 2, 6}}},
           .call = [](In in) { return Out{Rotated(in[0])}; },
           .step = kStep,
           .tolerance = kTolerance}};
}

}  // namespace sophia
