#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sophia/base/json.h"
#include "sophia/runtime/program.h"

namespace sophia::plan {

// Whether a compiled step fits where it is about to run.
struct Verdict {
  int64_t need = 0;       // of device memory; of a CPU's process, all it takes
  int64_t offloaded = 0;  // bytes of the host beside it
  std::optional<int64_t> limit = std::nullopt;       // absent: the device does not say
  std::optional<int64_t> host_limit = std::nullopt;  // absent: the device is the host

  bool host_fits() const { return !host_limit || offloaded <= *host_limit; }
  bool fits() const { return (!limit || need <= *limit) && host_fits(); }
};

// The verdict on a program compiled for `device`, before any of its arguments is there, and on
// `beside` bytes more. The limit is what the device reports; for a CPU, what this process has and
// what the machine has to spare.
Verdict Judge(const Program& program, const pjrt::Device& device, int64_t beside = 0);

// {"fits", "peak_bytes", "limit_bytes" or null, "offloaded_bytes"}, as `sophia plan --json` names
// them.
Json ToJson(const Verdict& verdict);

// "fits, 15.7 GB to spare", or "does not fit, by 1.2 GB" where less than nothing is to spare.
std::string FitText(bool fits, int64_t spare);

// "1.2 GB of 16.9 GB: fits, 15.7 GB to spare".
std::string ToText(const Verdict& verdict);

}  // namespace sophia::plan
