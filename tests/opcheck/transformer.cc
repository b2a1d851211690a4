// A Llama-like model in plain ops: embedding, scanned layers (RMSNorm, causal softmax attention,
// gated MLP) and a tied head, with LoRA on the query projection.
#include "tests/opcheck/transformer.h"

#include <cmath>

#include "sophia/autodiff/autodiff.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/special_ops.h"

namespace sophia {
namespace {

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;

constexpr int64_t kBatch = 2;
constexpr int64_t kSeq = 4;
constexpr int64_t kModel = 8;
constexpr int64_t kHeads = 2;
constexpr int64_t kHeadDim = kModel / kHeads;
constexpr int64_t kHidden = 12;
constexpr int64_t kVocab = 11;
constexpr int64_t kLayers = 2;
constexpr int64_t kRank = 2;

// The inputs, in order.
enum : size_t { kEmbed, kNorms, kQuery, kKey, kValue, kOutput, kGate, kUp, kDown, kA, kB };

const std::vector<Shape>& InputShapes() {
  static const std::vector<Shape> shapes = {
      {DType::kF32, {kVocab, kModel}},           {DType::kF32, {kLayers, 2, kModel}},
      {DType::kF32, {kLayers, kModel, kModel}},  {DType::kF32, {kLayers, kModel, kModel}},
      {DType::kF32, {kLayers, kModel, kModel}},  {DType::kF32, {kLayers, kModel, kModel}},
      {DType::kF32, {kLayers, kModel, kHidden}}, {DType::kF32, {kLayers, kModel, kHidden}},
      {DType::kF32, {kLayers, kHidden, kModel}}, {DType::kF32, {kLayers, kModel, kRank}},
      {DType::kF32, {kLayers, kRank, kModel}},
  };
  return shapes;
}

Tensor RmsNorm(const Tensor& x, const Tensor& weight) {
  const Tensor square = Mean(x * x, {-1}, {.keep_dims = true});
  return x * Rsqrt(square + 1e-5) * weight;
}

Tensor Softmax(const Tensor& x) {
  const Tensor e = Exp(x - StopGradient(ReduceMax(x, {-1}, {.keep_dims = true})));
  return e / Sum(e, {-1}, {.keep_dims = true});
}

// [B, S, D] -> [B, H, S, D / H]
Tensor SplitHeads(const Tensor& x) {
  return Transpose(Reshape(x, {kBatch, kSeq, kHeads, kHeadDim}), {0, 2, 1, 3});
}

Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v) {
  const Tensor scores =
      DotGeneral(
          q, k,
          {.lhs_batch = {0, 1}, .rhs_batch = {0, 1}, .lhs_contract = {3}, .rhs_contract = {3}}) *
      (1.0 / std::sqrt(static_cast<double>(kHeadDim)));
  const Shape square{DType::kS32, {kSeq, kSeq}};
  const Tensor is_past = Ge(Iota(square, 0), Iota(square, 1));
  const Tensor weights = CheckpointName(Softmax(Select(is_past, scores, -1e9)), "product");
  return DotGeneral(
      weights, v,
      {.lhs_batch = {0, 1}, .rhs_batch = {0, 1}, .lhs_contract = {3}, .rhs_contract = {2}});
}

// One layer; `w` holds its slices of the inputs from kNorms on.
Tensor Layer(const Tensor& x, In w) {
  const auto weight = [&](size_t input) { return w[input - kNorms]; };
  const auto norm = [&](int64_t which) {
    return Reshape(Take(weight(kNorms), ConstantS32({}, {static_cast<int32_t>(which)}), 0),
                   {kModel});
  };
  const Tensor h = RmsNorm(x, norm(0));
  const Tensor q = MatMul(h, weight(kQuery)) + MatMul(MatMul(h, weight(kA)), weight(kB)) * 2.0;
  const Tensor mixed = Attend(SplitHeads(q), SplitHeads(MatMul(h, weight(kKey))),
                              SplitHeads(MatMul(h, weight(kValue))));
  const Tensor joined = Reshape(Transpose(mixed, {0, 2, 1, 3}), {kBatch, kSeq, kModel});
  const Tensor attended = x + MatMul(joined, weight(kOutput));
  const Tensor normed = RmsNorm(attended, norm(1));
  const Tensor gate = MatMul(normed, weight(kGate));
  return attended + MatMul(gate * Logistic(gate) * MatMul(normed, weight(kUp)), weight(kDown));
}

// The mean cross-entropy of the next token.
Tensor LossOf(In inputs, const Remat& remat) {
  const Tensor tokens = ConstantS32({kBatch, kSeq}, {3, 1, 4, 1, 5, 9, 2, 6});
  const Tensor targets = ConstantS32({kBatch, kSeq}, {1, 4, 1, 5, 9, 2, 6, 10});
  const ScanBody body = [](In carry, In xs) -> ScanStep { return {{Layer(carry[0], xs)}}; };
  const Tensor hidden = Scan(body, {Take(inputs[kEmbed], tokens, 0)},
                             Out(inputs.begin() + kNorms, inputs.end()), {.remat = remat})
                            .carry[0];
  const Tensor logits = MatMul(hidden, inputs[kEmbed], {.transposed = true});
  const Tensor shifted = logits - StopGradient(ReduceMax(logits, {-1}, {.keep_dims = true}));
  const Tensor log_sum = Log(Sum(Exp(shifted), {-1}));
  const Tensor chosen = Squeeze(TakeAlongAxis(shifted, ExpandDims(targets, -1), -1), -1);
  return Mean(log_sum - chosen, {0, 1});
}

}  // namespace

std::vector<OpSample> TransformerSamples() {
  const std::vector<std::pair<std::string, Remat>> policies = {
      {"everything", Remat::Everything()},
      {"nothing", Remat::Nothing()},
      {"named", Remat::Named({"product"})}};
  std::vector<OpSample> samples;
  for (const auto& [name, remat] : policies) {
    samples.push_back({.name = "program/transformer/" + name,
                       .inputs = InputShapes(),
                       .call =
                           [remat = remat](In in) {
                             const LossFunction loss = [&](In lora) -> Loss {
                               Out inputs(in.begin(), in.end());
                               inputs[kA] = lora[0];
                               inputs[kB] = lora[1];
                               return {LossOf(inputs, remat)};
                             };
                             const ValueAndGradResult result = ValueAndGrad(loss, {in[kA], in[kB]});
                             return Out{result.value, result.grads[0], result.grads[1]};
                           },
                       .low = -0.6,
                       .high = 0.6});
  }
  return samples;
}

}  // namespace sophia
