#include "sophia/cli/host.h"

#include <sched.h>

#include <fstream>

#include "sophia/base/machine_memory.h"
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

}  // namespace

Host ThisHost() {
  const MachineMemory memory = MemoryOfMachine();
  Host host{.processor = ValueOf("/proc/cpuinfo", "model name"),
            .memory = memory.total,
            .free_memory = memory.available};
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) host.cores = CPU_COUNT(&set);
  return host;
}

}  // namespace sophia::cli
