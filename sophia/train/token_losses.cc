#include "sophia/train/token_losses.h"

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::train {

Tensor TokenLosses(const models::ModelPlan& plan, const BatchShape& shape, const MicroBatch& micro,
                   int64_t loss_chunk) {
  const Tensor hidden =
      plan.model
          ->Forward({.ids = micro.ids,
                     .positions = micro.places.defined() ? micro.places
                                                         : Iota({DType::kS32, micro.ids.dims()}, 1),
                     .segments = micro.segments})
          .hidden;
  Tensor rows = Reshape(hidden, {-1, hidden.dim(-1)});
  if (shape.gathers()) rows = Take(rows, micro.positions, 0);
  return plan.model->TokenLosses(rows, micro.labels, plan.policy->kernels(), loss_chunk);
}

}  // namespace sophia::train
