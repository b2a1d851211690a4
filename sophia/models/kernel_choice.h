#pragma once

#include <optional>

#include "sophia/kernels/kernel_target.h"
#include "sophia/pjrt/client.h"

namespace sophia::models {

// How programs trace their kernels: as `forced`, else as Mosaic for a TPU and in plain ops for
// anything else, which has no `chip`. Throws Error for Mosaic on what is no TPU of a known
// generation.
kernels::KernelTarget KernelsFor(std::optional<pallas::Chip> chip,
                                 std::optional<pallas::Mode> forced);
kernels::KernelTarget KernelsFor(const pjrt::Device& device, std::optional<pallas::Mode> forced);

}  // namespace sophia::models
