#pragma once

#include <vector>

#include "sophia/pallas/kernel.h"

namespace sophia::pallas {

// The kernel as graph ops: a loop over the grid that slices blocks, runs the body and puts blocks
// back. Runs on any plugin. What a TPU leaves undefined reads as NaN (77 in integers): output
// blocks and scratch before they are written, elements of blocks beyond the array, parts out of
// bounds. Random bits differ from a TPU's. Has no gradient.
std::vector<Tensor> Interpret(const Kernel& kernel, const std::vector<Tensor>& inputs, Loc loc);

}  // namespace sophia::pallas
