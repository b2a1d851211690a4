#pragma once

#include <cstdint>
#include <vector>

#include "sophia/models/model_files.h"
#include "sophia/models/model_plan.h"
#include "sophia/pjrt/buffer.h"

namespace sophia::models {

// The device buffers of all parameters, in the order of `specs`: from the files, or freshly drawn.
// Host memory in use stays near the size of the largest parameter. Same seed, same values. What the
// plan keeps in the host's memory lies there where the device has one.
std::vector<pjrt::Buffer> LoadParameters(const ModelFiles& files, const ModelPlan& plan,
                                         const pjrt::Device& device, uint64_t seed);

// The first values of a parameter that no file holds, f32.
std::vector<float> InitialValues(const nn::ParamSpec& spec, uint64_t seed);

}  // namespace sophia::models
