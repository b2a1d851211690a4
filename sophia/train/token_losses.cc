#include "sophia/train/token_losses.h"

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::train {

Tensor LossRows(const models::ModelPlan& plan, const BatchShape& shape, const MicroBatch& micro) {
  const Tensor hidden =
      plan.model
          ->Forward({.ids = micro.ids,
                     .positions = micro.places.defined() ? micro.places
                                                         : Iota({DType::kS32, micro.ids.dims()}, 1),
                     .segments = micro.segments})
          .hidden;
  const Tensor rows = Reshape(hidden, {-1, hidden.dim(-1)});
  return shape.gathers() ? Take(rows, micro.positions, 0) : rows;
}

Tensor TokenLosses(const models::ModelPlan& plan, const BatchShape& shape, const MicroBatch& micro,
                   int64_t loss_chunk) {
  return plan.model->TokenLosses(LossRows(plan, shape, micro), micro.labels, plan.policy->kernels(),
                                 loss_chunk);
}

}  // namespace sophia::train
