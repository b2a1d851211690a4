#pragma once

#include <cstdint>

namespace sophia {

// Resident memory of this process in bytes. Throws Error where Linux does not say.
int64_t ResidentBytes();

}  // namespace sophia
