#pragma once

#include <vector>

#include "tests/pallas/host_tensor.h"
#include "tests/pallas/kernels.h"

namespace sophia::pallas {

std::vector<HostTensor> RandomInputs(const TestKernel& kernel, uint32_t seed);

// The kernel's results on the client's device in each of the modes.
std::vector<std::vector<HostTensor>> RunKernel(const pjrt::Client& client, const TestKernel& kernel,
                                               const std::vector<Mode>& modes,
                                               const std::vector<HostTensor>& inputs);

}  // namespace sophia::pallas
