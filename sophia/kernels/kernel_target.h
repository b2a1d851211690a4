#pragma once

#include <optional>

#include "sophia/pallas/pallas_call.h"

namespace sophia::kernels {

// How a function of this layer is traced: as TPU kernels for a chip, as the same kernels
// interpreted, or in plain ops.
struct KernelTarget {
  pallas::Mode mode = pallas::Mode::kReference;
  // With mode kMosaic or kInterpret: block sizes and checks of this chip.
  std::optional<pallas::Chip> chip = std::nullopt;
};

inline pallas::CallOptions CallOf(const KernelTarget& target) {
  return {.mode = target.mode, .chip = target.chip};
}

}  // namespace sophia::kernels
