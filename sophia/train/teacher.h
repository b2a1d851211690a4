#pragma once

#include <string>
#include <vector>

#include "sophia/models/model_plan.h"
#include "sophia/pjrt/buffer.h"
#include "sophia/train/options.h"

namespace sophia::train {

// Throws Error where the objective's teacher cannot teach a model with the options' adapter.
void CheckTeacher(const TrainOptions& options);

// The values that the plan's trainable parameters have in the teacher of options.isomorphism: those
// of an adapter that changes nothing, of one drawn from the seed, or of a folder's.
std::vector<pjrt::Buffer> LoadTeacher(const TrainOptions& options, const models::ModelPlan& plan,
                                      const pjrt::Device& device);

}  // namespace sophia::train
