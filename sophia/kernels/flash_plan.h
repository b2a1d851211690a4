#pragma once

#include <optional>

#include "sophia/kernels/flash_attention.h"

namespace sophia::kernels::flash {

enum class FlashKernel : uint8_t { kForward, kQueryGradient, kKeyGradients };

// Blocks for sequences of `length`, padded to whole blocks by at most an eighth; without a chip,
// those of v5e.
FlashBlocks PlannedBlocks(FlashKernel kernel, std::optional<pallas::Chip> chip, int64_t length,
                          int64_t window);

// VMEM that the kernels ask for; 0: the chip's default.
int64_t VmemLimit(std::optional<pallas::Chip> chip);

}  // namespace sophia::kernels::flash
