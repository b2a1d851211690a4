#pragma once

#include <memory>

#include "sophia/models/causal_lm.h"
#include "sophia/models/model_files.h"

namespace sophia::models {

// Builds the model that a configuration describes, declaring its parameters under `scope`. Throws
// Error naming the known families for another architecture.
std::unique_ptr<CausalLm> BuildModel(const nn::ParamScope& scope, const Json& config,
                                     std::string_view where);

}  // namespace sophia::models
