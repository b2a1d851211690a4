#include "sophia/base/process.h"

#include <unistd.h>

#include <array>
#include <fstream>

#include "sophia/base/error.h"

namespace sophia {

int64_t ResidentBytes() {
  constexpr const char* kFile = "/proc/self/statm";
  int64_t pages = 0;
  int64_t resident = 0;
  if (!(std::ifstream(kFile) >> pages >> resident)) {
    Fail(kFile, "expected the sizes of this process, got none");
  }
  return resident * sysconf(_SC_PAGESIZE);
}

std::string HostName() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

}  // namespace sophia
