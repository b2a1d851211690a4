#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "sophia/pallas/chips.h"

namespace sophia::plan {

// What a step is planned for: one device of a TPU topology, or this machine's CPU.
struct Target {
  std::string name;                                  // "v5e:1x1", "cpu"
  std::optional<pallas::Chip> chip = {};             // absent: the CPU
  std::optional<std::filesystem::path> plugin = {};  // absent: not installed

  bool is_tpu() const { return chip.has_value(); }
};

// The target of a name, with `plugin` or the one that a search finds. Throws Error that lists the
// names there are for an unknown one, and for a CPU without a plugin.
Target FindTarget(const std::string& name, const std::optional<std::filesystem::path>& plugin);

// Bytes that a program may take: what libtpu gives one device, or the memory that this machine has
// to spare.
int64_t MemoryLimit(const Target& target);

}  // namespace sophia::plan
