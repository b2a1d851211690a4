#pragma once

#include <vector>

#include "sophia/graph/op.h"

namespace sophia {

// The parts of sophia/nn with gradients of their own or maths worth an oracle: attention, the fused
// head and loss, rotary embedding. Their inner type is f32, so finite differences are coarse.
std::vector<OpSample> LayerSamples();

}  // namespace sophia
