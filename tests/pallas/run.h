#pragma once

#include <vector>

#include "sophia/runtime/program.h"
#include "tests/pallas/kernels.h"

namespace sophia::pallas {

// Inputs and results as f32 or s32, whatever the kernel's own element types are.
struct HostTensor {
  Shape shape;
  std::vector<float> floats;
  std::vector<int32_t> integers;

  std::span<const std::byte> bytes() const;
};

std::vector<HostTensor> RandomInputs(const TestKernel& kernel, uint32_t seed);

// The kernel's results on the client's device in each of the modes.
std::vector<std::vector<HostTensor>> RunKernel(const pjrt::Client& client, const TestKernel& kernel,
                                               const std::vector<Mode>& modes,
                                               const std::vector<HostTensor>& inputs);

}  // namespace sophia::pallas
