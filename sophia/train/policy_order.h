#pragma once

#include <vector>

#include "sophia/models/model_plan.h"
#include "sophia/train/memory_policy.h"
#include "sophia/train/step.h"

namespace sophia::train {

// The policies of PoliciesToTry() for a step, which is traced with each: the one with the least
// pallas::StepSeconds, by the roofline, comes first, and what cannot be traced last. In their own
// order where the kernels of `plan` are for no chip. options.policy is not read.
std::vector<MemoryPolicy> PoliciesByTime(const models::ModelPlan& plan, StepOptions options,
                                         bool has_host);

}  // namespace sophia::train
