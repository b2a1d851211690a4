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

// Tokens of a micro-batch whose states are compared: spread over its loss positions.
struct Probes {
  Tensor places;   // s32 [n], b * S + s
  Tensor counted;  // f32 [n]: 1, or 0 for a token that is not trained
};
// At most `most`.
Probes ProbesOf(const BatchShape& shape, const MicroBatch& micro, int64_t most);

// What a model makes of a micro-batch.
struct MicroResult {
  Tensor rows;    // the last hidden states at the loss positions, [N, D]
  Tensor states;  // those after each layer at `probes`, [layers, n, D], if there are any
};
MicroResult RunMicro(const models::ModelPlan& plan, const BatchShape& shape,
                     const MicroBatch& micro, const Tensor& probes = {});

// Loss of each of a micro-batch's loss positions, 0 where the label is ignored. -> f32 [N]
// `loss_chunk`: see MemoryPolicy.
Tensor TokenLosses(const models::ModelPlan& plan, const BatchShape& shape, const MicroBatch& micro,
                   int64_t loss_chunk);

}  // namespace sophia::train
