#include "sophia/models/causal_lm.h"

#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/nn/loss.h"

namespace sophia::models {
namespace {

// [V, D]; where it is s8, row v stands for scale[v] · row v.
struct HeadWeight {
  Tensor rows;
  Tensor scale = {};
};

HeadWeight WeightOf(const nn::Param& head) {
  if (head.spec().packed.format == nullptr) return {head.value()};
  const std::vector<Tensor> parts = head.Parts();
  return {.rows = parts[0], .scale = parts[1]};
}

}  // namespace

Tensor CausalLm::Logits(const Tensor& hidden) const {
  const HeadWeight head = WeightOf(Head());
  const Tensor rows = Convert(head.rows, hidden.dtype());
  const Tensor logits = MatMul(hidden, rows, {.transposed = true, .result = DType::kF32});
  return head.scale.defined() ? logits * head.scale : logits;
}

Tensor CausalLm::TokenLosses(const Tensor& hidden, const Tensor& labels,
                             const kernels::KernelTarget& target, int64_t chunk) const {
  const HeadWeight head = WeightOf(Head());
  return nn::LinearCrossEntropy(hidden, head.rows, labels, target,
                                {.head_scale = head.scale, .chunk = chunk});
}

Shape CausalLm::CacheShape(int64_t batch, int64_t capacity, DType dtype) const {
  return {dtype, {sizes().layers, batch, capacity, sizes().kv_heads, sizes().head_dim}};
}

}  // namespace sophia::models
