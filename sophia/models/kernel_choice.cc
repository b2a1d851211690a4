#include "sophia/models/kernel_choice.h"

#include "sophia/base/error.h"

namespace sophia::models {
namespace {

using pallas::Mode;

kernels::KernelTarget Choose(std::optional<pallas::Chip> chip, std::optional<Mode> forced,
                             const std::string& device) {
  if (forced == Mode::kMosaic && !chip) {
    Fail("kernels", "expected a TPU for mosaic, or interpret or reference, got a device '{}'",
         device);
  }
  return {.mode = forced.value_or(chip ? Mode::kMosaic : Mode::kReference), .chip = chip};
}

}  // namespace

kernels::KernelTarget KernelsFor(std::optional<pallas::Chip> chip, std::optional<Mode> forced) {
  return Choose(chip, forced, "cpu");
}

kernels::KernelTarget KernelsFor(const pjrt::Device& device, std::optional<Mode> forced) {
  const std::string kind = device.Description().kind;
  return Choose(pallas::ChipFromKind(kind), forced, kind);
}

}  // namespace sophia::models
