#pragma once

#include <vector>

#include "sophia/nn/param.h"
#include "sophia/pjrt/buffer.h"

namespace sophia::lora {

// Gives DoRA's magnitudes their first values, the norms of the rows of the weights beside them as
// the model reads them: what an adapter with B = 0 needs to change nothing. `buffers` are those of
// `specs`; nothing happens where there are no magnitudes.
void SetMagnitudes(const pjrt::Client& client, const pjrt::Device& device,
                   const std::vector<nn::ParamSpec>& specs, std::vector<pjrt::Buffer>& buffers);

}  // namespace sophia::lora
