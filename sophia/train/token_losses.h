#pragma once

#include "sophia/models/model_plan.h"
#include "sophia/train/batches.h"

namespace sophia::train {

// A micro-batch's inputs.
struct MicroBatch {
  Tensor ids;        // s32 [B, S]
  Tensor segments;   // the same, undefined unless the shape packs
  Tensor places;     // the same
  Tensor positions;  // s32 [N]
  Tensor labels;     // s32 [N]
};

// The last hidden states at a micro-batch's loss positions, [N, D].
Tensor LossRows(const models::ModelPlan& plan, const BatchShape& shape, const MicroBatch& micro);

// Loss of each of a micro-batch's loss positions, 0 where the label is ignored. -> f32 [N]
// `loss_chunk`: see MemoryPolicy.
Tensor TokenLosses(const models::ModelPlan& plan, const BatchShape& shape, const MicroBatch& micro,
                   int64_t loss_chunk);

}  // namespace sophia::train
