#include "sophia/nn/head_groups.h"

#include "sophia/base/error.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::nn {

Tensor HeadGroups::operator()(const Function& function) const {
  const int64_t size = policy_->activations().kv_heads;
  if (size == 0 || size == kv_heads_) return function({});
  if (kv_heads_ % size != 0) {
    Fail("policy", "expected kv_heads=N with N a divisor of the model's {} KV heads, got {}",
         kv_heads_, size);
  }
  const int64_t count = kv_heads_ / size;
  const Tensor groups =
      Scan(
          [&](std::span<const Tensor>, std::span<const Tensor> index) -> ScanStep {
            return {{}, {function({.index = index[0], .count = count})}};
          },
          {}, {Iota({DType::kS32, {count}}, 0)}, {.remat = Remat::Nothing()})
          .ys[0];
  const Tensor beside = Transpose(groups, {1, 2, 0, 3});
  return Reshape(beside, {beside.dim(0), beside.dim(1), -1});
}

}  // namespace sophia::nn
