#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace sophia::pjrt {

using OptionOverride = std::variant<bool, int64_t, double, std::string>;

struct CompileOptions {
  int num_replicas = 1;
  int num_partitions = 1;
  // Partition one program over num_partitions devices, and read its shardings with Shardy.
  bool use_spmd = false;
  bool use_shardy = false;
  // Device ids as [replica][partition]; the platform's default where empty.
  std::vector<std::vector<int64_t>> device_assignment;
  // XLA's debug and platform options by name without dashes, such as
  // {"xla_cpu_use_thunk_runtime", true} or {"xla_tpu_scoped_vmem_limit_kib", "65536"}.
  std::map<std::string, OptionOverride> overrides;
};

// Serialised CompileOptionsProto: openxla/xla xla/pjrt/proto/compile_options.proto. Equal options
// give equal bytes. Throws Error if the assignment's size is not replicas times partitions.
std::string Encode(const CompileOptions& options);

}  // namespace sophia::pjrt
