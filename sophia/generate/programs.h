#pragma once

#include <memory>

#include "sophia/graph/graph.h"
#include "sophia/models/model_plan.h"

namespace sophia::generate {

// The inputs of every program begin with the parameters, in the order of the model's ParamTable.

// inputs:  …, ids s32[B, S]
// outputs: logits f32[B, S, V]
std::unique_ptr<Graph> TraceLogits(const models::ModelPlan& plan, int64_t batch, int64_t seq);

// Keys and values of `capacity` positions for each of `batch` rows.
struct CacheSize {
  int64_t batch = 1;
  int64_t capacity = 0;
};

// Fills a new cache with prompts that stand at the left of `seq` places (at most the capacity).
// What is behind a prompt's end is overwritten before any later token can see it.
// inputs:  …, ids s32[B, S], last s32[B]: the place of each prompt's last token
// outputs: keys, values, logits f32[B, V] at `last`, most likely token s32[B]
std::unique_ptr<Graph> TracePrefill(const models::ModelPlan& plan, const CacheSize& size,
                                    int64_t seq);

// Adds one token a row.
// inputs:  …, ids s32[B, 1], positions s32[B, 1], keys, values
// outputs: keys, values (each in the place of its input), logits f32[B, V], most likely token
// s32[B]
std::unique_ptr<Graph> TraceDecode(const models::ModelPlan& plan, const CacheSize& size);

}  // namespace sophia::generate
