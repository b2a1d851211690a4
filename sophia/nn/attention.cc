#include "sophia/nn/attention.h"

#include <cmath>

#include "sophia/base/error.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::nn {
namespace {

constexpr double kMasked = -1e30;

// bool [B or 1, 1, 1, Sq, Sk]: which keys each query sees.
Tensor VisibleKeys(int64_t queries, int64_t keys, const Tensor& positions) {
  const Tensor key = Iota({DType::kS32, {1, 1, 1, 1, keys}}, 4);
  if (positions.defined()) {
    return Le(key, Reshape(positions, {positions.dim(0), 1, 1, queries, 1}));
  }
  return Le(key, Iota({DType::kS32, {1, 1, 1, queries, 1}}, 3));
}

}  // namespace

Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  const int64_t batch = q.dim(0);
  const int64_t queries = q.dim(1);
  const int64_t keys = k.dim(1);
  const int64_t heads = q.dim(2);
  const int64_t kv_heads = k.dim(2);
  const int64_t head_dim = q.dim(3);
  SOPHIA_CHECK(heads % kv_heads == 0 && k.dims() == v.dims() && k.dim(3) == head_dim);
  SOPHIA_CHECK(!options.causal || options.positions.defined() || queries == keys);

  const double scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
  const Tensor grouped = Reshape(q * scale, {batch, queries, kv_heads, heads / kv_heads, head_dim});
  // [B, K, Sq, G, Sk] -> [B, K, G, Sq, Sk]
  Tensor scores = DotGeneral(grouped, k,
                             {.lhs_batch = {0, 2},
                              .rhs_batch = {0, 2},
                              .lhs_contract = {4},
                              .rhs_contract = {3},
                              .result = DType::kF32});
  scores = Transpose(scores, {0, 1, 3, 2, 4});
  if (options.causal || options.positions.defined()) {
    scores = Select(VisibleKeys(queries, keys, options.positions), scores, kMasked);
  }
  const Tensor shifted = Exp(scores - ReduceMax(scores, {-1}, {.keep_dims = true}));
  const Tensor weights = Convert(shifted / Sum(shifted, {-1}, {.keep_dims = true}), q.dtype());
  // [B, K, G, Sq, D] -> [B, Sq, K, G, D]
  const Tensor mixed = DotGeneral(
      weights, v,
      {.lhs_batch = {0, 1}, .rhs_batch = {0, 2}, .lhs_contract = {4}, .rhs_contract = {1}});
  return Reshape(Transpose(mixed, {0, 3, 1, 2, 4}), {batch, queries, heads, head_dim});
}

}  // namespace sophia::nn
