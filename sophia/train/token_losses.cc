#include "sophia/train/token_losses.h"

#include <algorithm>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::train {

Probes ProbesOf(const BatchShape& shape, const MicroBatch& micro, int64_t most) {
  const int64_t count = std::min(most, shape.loss_positions);
  const Tensor trained = Ge(micro.labels, 0.0);
  const Tensor place = Iota({DType::kS32, {shape.loss_positions}}, 0);
  const Tensor used = ReduceMax(Select(trained, place + 1.0, 0.0), {0});
  const Tensor probe = Iota({DType::kS32, {count}}, 0);
  const Tensor spread = probe * used / static_cast<double>(count);
  const Tensor chosen =
      Select(BroadcastTo(Ge(used, static_cast<double>(count)), {count}), spread, probe);
  return {.places = shape.gathers() ? Take(micro.positions, chosen, 0) : chosen,
          .counted = Convert(Take(trained, chosen, 0), DType::kF32)};
}

MicroResult RunMicro(const models::ModelPlan& plan, const BatchShape& shape,
                     const MicroBatch& micro, const Tensor& probes) {
  const models::ForwardResult result = plan.model->Forward(
      {.ids = micro.ids,
       .positions =
           micro.places.defined() ? micro.places : Iota({DType::kS32, micro.ids.dims()}, 1),
       .segments = micro.segments,
       .probes = probes});
  const Tensor rows = Reshape(result.hidden, {-1, result.hidden.dim(-1)});
  return {.rows = shape.gathers() ? Take(rows, micro.positions, 0) : rows, .states = result.states};
}

Tensor TokenLosses(const models::ModelPlan& plan, const BatchShape& shape, const MicroBatch& micro,
                   int64_t loss_chunk) {
  return plan.model->TokenLosses(RunMicro(plan, shape, micro).rows, micro.labels,
                                 plan.policy->kernels(), loss_chunk);
}

}  // namespace sophia::train
