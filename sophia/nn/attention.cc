#include "sophia/nn/attention.h"

#include <cmath>

#include "sophia/base/error.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/special_ops.h"

namespace sophia::nn {
namespace {

constexpr double kMasked = -1e30;

// Sizes and masks that the passes share. Score-like tensors are [B, K, Sq, G, Sk], where K are the
// key heads and G the query heads of each.
struct Pass {
  int64_t batch, queries, keys, kv_heads, group, head_dim;
  Tensor visible;  // bool, broadcasts over scores; undefined: every query sees every key
  DType dtype;

  double scale() const { return 1.0 / std::sqrt(static_cast<double>(head_dim)); }
  Tensor Grouped(const Tensor& q) const {
    return Reshape(q, {batch, queries, kv_heads, group, head_dim});
  }
  Tensor Ungrouped(const Tensor& q) const {
    return Reshape(q, {batch, queries, kv_heads * group, head_dim});
  }
};

Tensor VisibleKeys(int64_t queries, int64_t keys, const Tensor& positions) {
  const Tensor key = Iota({DType::kS32, {1, 1, 1, 1, keys}}, 4);
  if (positions.defined()) {
    return Le(key, Reshape(positions, {positions.dim(0), 1, queries, 1, 1}));
  }
  return Le(key, Iota({DType::kS32, {1, 1, queries, 1, 1}}, 2));
}

Tensor Scores(const Pass& pass, const Tensor& q, const Tensor& k) {
  const Tensor scores = DotGeneral(pass.Grouped(q), k,
                                   {.lhs_batch = {0, 2},
                                    .rhs_batch = {0, 2},
                                    .lhs_contract = {4},
                                    .rhs_contract = {3},
                                    .result = DType::kF32}) *
                        pass.scale();
  return pass.visible.defined() ? Select(pass.visible, scores, kMasked) : scores;
}

// weights: [B, K, Sq, G, Sk], x: [B, Sk, K, D] -> [B, Sq, H, D].
Tensor Mix(const Pass& pass, const Tensor& weights, const Tensor& x) {
  const Tensor mixed = DotGeneral(weights, x,
                                  {.lhs_batch = {0, 1},
                                   .rhs_batch = {0, 2},
                                   .lhs_contract = {4},
                                   .rhs_contract = {1},
                                   .result = pass.dtype});
  return pass.Ungrouped(Transpose(mixed, {0, 2, 1, 3, 4}));
}

// weights: [B, K, Sq, G, Sk], x: [B, Sq, H, D] -> [B, Sk, K, D].
Tensor MixBack(const Pass& pass, const Tensor& weights, const Tensor& x) {
  const Tensor mixed = DotGeneral(weights, pass.Grouped(x),
                                  {.lhs_batch = {0, 1},
                                   .rhs_batch = {0, 2},
                                   .lhs_contract = {2, 3},
                                   .rhs_contract = {1, 3},
                                   .result = pass.dtype});
  return Transpose(mixed, {0, 2, 1, 3});
}

constexpr size_t kResiduals = 5;  // of AttendForward; then the positions, if given

CustomVjpOutput AttendForward(const Pass& pass, const Tensor& q, const Tensor& k, const Tensor& v) {
  const Tensor scores = Scores(pass, q, k);
  const Tensor max = ReduceMax(scores, {-1}, {.keep_dims = true});
  const Tensor exponentials = Exp(scores - max);
  const Tensor sum = Sum(exponentials, {-1}, {.keep_dims = true});
  const Tensor out =
      CheckpointName(Mix(pass, Convert(exponentials / sum, pass.dtype), v), kSavedAttention);
  const Tensor log_sum = CheckpointName(max + Log(sum), kSavedAttention);
  return {.outputs = {out}, .residuals = {q, k, v, out, log_sum}};
}

// P = exp(S - logsumexp), dV = P'·dO, dS = P ∘ (dO·V' - rowsum(dO ∘ O)), dQ = dS·K, dK = dS'·Q, as
// in FlashAttention (https://arxiv.org/abs/2205.14135): the weights are made again, not kept.
std::vector<Tensor> AttendBackward(const Pass& pass, std::span<const Tensor> residuals,
                                   const Tensor& grad) {
  const Tensor& q = residuals[0];
  const Tensor& k = residuals[1];
  const Tensor weights = Exp(Scores(pass, q, k) - residuals[4]);
  const Tensor wide = Convert(grad, DType::kF32) * Convert(residuals[3], DType::kF32);
  const Tensor row_sum = Transpose(Sum(pass.Grouped(wide), {-1}), {0, 2, 1, 3});
  const Tensor grad_weights = DotGeneral(pass.Grouped(grad), residuals[2],
                                         {.lhs_batch = {0, 2},
                                          .rhs_batch = {0, 2},
                                          .lhs_contract = {4},
                                          .rhs_contract = {3},
                                          .result = DType::kF32});
  const Tensor grad_scores =
      Convert(weights * (grad_weights - ExpandDims(row_sum, -1)) * pass.scale(), pass.dtype);
  return {Mix(pass, grad_scores, k), MixBack(pass, grad_scores, q),
          MixBack(pass, Convert(weights, pass.dtype), grad)};
}

}  // namespace

Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  Pass pass{.batch = q.dim(0),
            .queries = q.dim(1),
            .keys = k.dim(1),
            .kv_heads = k.dim(2),
            .group = q.dim(2) / k.dim(2),
            .head_dim = q.dim(3),
            .dtype = q.dtype()};
  SOPHIA_CHECK(q.dim(2) % k.dim(2) == 0 && k.dims() == v.dims() && k.dim(3) == q.dim(3));
  SOPHIA_CHECK(!options.causal || options.positions.defined() || pass.queries == pass.keys);
  if (options.causal || options.positions.defined()) {
    pass.visible = VisibleKeys(pass.queries, pass.keys, options.positions);
  }
  const auto forward = [&](std::span<const Tensor> p) {
    CustomVjpOutput result = AttendForward(pass, p[0], p[1], p[2]);
    if (options.positions.defined()) result.residuals.push_back(options.positions);
    return result;
  };
  const auto backward = [pass](std::span<const Tensor> residuals, std::span<const Tensor> grads) {
    Pass again = pass;
    // The mask is made where the backward pass is traced.
    if (pass.visible.defined()) {
      const Tensor positions = residuals.size() > kResiduals ? residuals[kResiduals] : Tensor();
      again.visible = VisibleKeys(pass.queries, pass.keys, positions);
    }
    return AttendBackward(again, residuals, grads[0]);
  };
  return CustomVjp({q, k, v}, forward, backward)[0];
}

}  // namespace sophia::nn
