#include "sophia/cli/host.h"

#include <sched.h>

#include <algorithm>
#include <fstream>

#include "sophia/base/strings.h"

namespace sophia::cli {
namespace {

// The value behind "name   :" of a file of such lines.
std::string ValueOf(const char* path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name)) continue;
    const size_t colon = line.find(':');
    if (colon != std::string::npos) return std::string(Trim(line.substr(colon + 1)));
  }
  return "";
}

// Kibibytes as /proc/meminfo writes them ("123 kB"), in bytes.
int64_t MemoryInfo(std::string_view name) {
  const std::string value = ValueOf("/proc/meminfo", name);
  return value.empty() ? 0 : 1024 * std::stoll(value);
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

Host ThisHost() {
  Host host{.processor = ValueOf("/proc/cpuinfo", "model name"),
            .memory = MemoryInfo("MemTotal"),
            .free_memory = MemoryInfo("MemAvailable")};
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) host.cores = CPU_COUNT(&set);
  const auto limit = GroupMemory("memory.max", "memory.limit_in_bytes");
  const auto used = GroupMemory("memory.current", "memory.usage_in_bytes");
  if (limit && used && *limit < host.memory) {
    host.memory = *limit;
    host.free_memory = std::clamp<int64_t>(*limit - *used, 0, host.free_memory);
  }
  return host;
}

std::string HumanSize(int64_t bytes) { return HumanBytes(static_cast<double>(bytes)); }

}  // namespace sophia::cli
