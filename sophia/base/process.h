#pragma once

#include <cstdint>
#include <string>

namespace sophia {

// Resident memory of this process in bytes. Throws Error where Linux does not say.
int64_t ResidentBytes();

// The name of this machine; "localhost" where Linux does not say.
std::string HostName();

}  // namespace sophia
