#pragma once

#include <vector>

#include "sophia/graph/op.h"

namespace sophia {

// Programs that put autodiff's parts together, checked like the ops: derivatives of derivatives,
// checkpoints, scans, branches and calls within each other, and a small transformer.
std::vector<OpSample> ProgramSamples();

}  // namespace sophia
