#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace sophia::cli {

// What Linux says of this machine and this process's share of it.
struct Host {
  std::string processor;  // "AMD EPYC 9B14"
  int cores = 0;          // that the process may use
  int64_t memory = 0;     // bytes, at most what a control group allows
  int64_t free_memory = 0;
};

Host ThisHost();

}  // namespace sophia::cli
