#pragma once

#include <cstdint>

namespace sophia {

// Memory of this machine in bytes, or of the control group that this process is in where that may
// take less.
struct MachineMemory {
  int64_t total = 0;
  int64_t available = 0;  // without swapping
};

// Throws Error where Linux does not say.
MachineMemory MemoryOfMachine();

}  // namespace sophia
