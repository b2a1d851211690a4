#include "sophia/base/machine_memory.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>

#include "sophia/base/error.h"

namespace sophia {
namespace {

int64_t MemoryInfo(const std::string& name) {
  std::ifstream info("/proc/meminfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with(name + ":")) return 1024 * std::stoll(line.substr(name.size() + 1));
  }
  Fail("/proc/meminfo", "expected a line {}, got none", name);
}

// A number of the process's control group, of version 2 or 1; nullopt without one or a limit.
std::optional<int64_t> GroupMemory(const char* in_v2, const char* in_v1) {
  for (const std::string& path :
       {std::string("/sys/fs/cgroup/") + in_v2, std::string("/sys/fs/cgroup/memory/") + in_v1}) {
    int64_t bytes = 0;
    if (std::ifstream(path) >> bytes) return bytes;
  }
  return std::nullopt;
}

}  // namespace

MachineMemory MemoryOfMachine() {
  MachineMemory memory{.total = MemoryInfo("MemTotal"), .available = MemoryInfo("MemAvailable")};
  const auto limit = GroupMemory("memory.max", "memory.limit_in_bytes");
  const auto used = GroupMemory("memory.current", "memory.usage_in_bytes");
  if (limit && used && *limit < memory.total) {
    memory.total = *limit;
    memory.available = std::clamp<int64_t>(*limit - *used, 0, memory.available);
  }
  return memory;
}

}  // namespace sophia
