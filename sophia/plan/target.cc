#include "sophia/plan/target.h"

#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/base/machine_memory.h"
#include "sophia/base/strings.h"
#include "sophia/pjrt/plugin.h"

namespace sophia::plan {
namespace {

constexpr std::string_view kCpu = "cpu";

std::string SmallestTopology(const pallas::ChipInfo& chip) {
  std::string name = std::string(chip.name) + ":1";
  for (int axis = 1; axis < chip.topology_axes; ++axis) name += "x1";
  return name;
}

std::vector<std::string> KnownNames() {
  std::vector<std::string> names = {std::string(kCpu)};
  for (const pallas::ChipInfo& chip : pallas::AllChips()) names.push_back(SmallestTopology(chip));
  return names;
}

[[noreturn]] void RefuseTopology(const std::string& name) {
  Fail("topology", "expected one of {} (sizes may be 1, 2, 4, 8 or 16), got '{}'{}",
       Join(KnownNames(), ", "), name, DidYouMean(name, KnownNames()));
}

// libtpu dies on names that it cannot take apart, so they are checked before it sees them.
pallas::Chip ChipOf(const std::string& name) {
  const std::vector<std::string> parts = Split(name, ':');
  const std::optional<pallas::Chip> chip = pallas::ChipFromName(parts[0]);
  if (!chip || parts.size() != 2) RefuseTopology(name);
  const std::vector<std::string> sizes = Split(parts[1], 'x');
  const bool known = std::ranges::all_of(sizes, [](const std::string& size) {
    return size == "1" || size == "2" || size == "4" || size == "8" || size == "16";
  });
  if (!known || static_cast<int>(sizes.size()) != pallas::Info(*chip).topology_axes) {
    RefuseTopology(name);
  }
  return *chip;
}

}  // namespace

Target FindTarget(const std::string& name, const std::optional<std::filesystem::path>& plugin) {
  Target target{.name = name};
  if (name == kCpu) {
    target.plugin = pjrt::FindPlugin({.path = plugin, .platform = "cpu"});
    return target;
  }
  target.chip = ChipOf(name);
  try {
    target.plugin = pjrt::FindPlugin({.path = plugin, .platform = "tpu"});
  } catch (const Error&) {
    if (plugin) throw;
  }
  return target;
}

int64_t MemoryLimit(const Target& target) {
  return target.is_tpu() ? pallas::Info(*target.chip).usable_hbm : MemoryOfMachine().available;
}

}  // namespace sophia::plan
