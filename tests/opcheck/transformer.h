#pragma once

#include <vector>

#include "sophia/graph/op.h"

namespace sophia {

// Loss and LoRA gradients of a two-layer transformer, once for each remat policy.
std::vector<OpSample> TransformerSamples();

}  // namespace sophia
