#pragma once

#include <memory>

#include "sophia/models/model_files.h"
#include "sophia/models/model_plan.h"
#include "sophia/train/examples.h"
#include "sophia/train/options.h"
#include "sophia/train/step.h"

namespace sophia::train {

// The structure of a run's model: adapters and the storage of weights as the options say. `files`
// must outlive it. Throws Error for target modules that match nothing.
std::unique_ptr<models::ModelPlan> BuildModel(const TrainOptions& options,
                                              const models::ModelFiles& files);

// What encodes rows for a model; one without a tokenizer serves pre-tokenised rows only.
TextEncoder EncoderFor(const models::ModelFiles& files, int64_t vocab);

// How a run traces its step for batches of `shape`; `target`: the optimiser's kernels, `teacher`:
// of options.isomorphism.
StepOptions StepOptionsOf(const TrainOptions& options, const BatchShape& shape,
                          const kernels::KernelTarget& target = {},
                          const Teacher* teacher = nullptr);

}  // namespace sophia::train
