#include "sophia/models/causal_lm.h"

#include "sophia/graph/ops/dot_ops.h"

namespace sophia::models {

Tensor CausalLm::Logits(const Tensor& hidden) const {
  return MatMul(hidden, Head(), {.transposed = true, .result = DType::kF32});
}

Shape CausalLm::CacheShape(int64_t batch, int64_t capacity, DType dtype) const {
  return {dtype, {sizes().layers, batch, capacity, sizes().kv_heads, sizes().head_dim}};
}

}  // namespace sophia::models
