#include "sophia/pjrt/compile_options.h"

#include "sophia/base/error.h"
#include "sophia/base/proto_writer.h"

namespace sophia::pjrt {
namespace {

// Field numbers of CompileOptionsProto, ExecutableBuildOptionsProto and OptionOverrideProto
// (xla/pjrt/proto/compile_options.proto) and of DeviceAssignmentProto (xla/xla_data.proto).
constexpr int kExecutableBuildOptions = 3;
constexpr int kEnvOptionOverrides = 7;

constexpr int kDeviceOrdinal = 1;
constexpr int kNumReplicas = 4;
constexpr int kNumPartitions = 5;
constexpr int kUseSpmdPartitioning = 6;
constexpr int kDeviceAssignment = 9;
constexpr int kUseShardyPartitioner = 19;

constexpr int kStringField = 1;
constexpr int kBoolField = 2;
constexpr int kIntField = 3;
constexpr int kDoubleField = 4;

constexpr int kReplicaCount = 1;
constexpr int kComputationCount = 2;
constexpr int kComputationDevices = 3;
constexpr int kReplicaDeviceIds = 1;

constexpr int kMapKey = 1;
constexpr int kMapValue = 2;

void CheckAssignment(const CompileOptions& options) {
  const auto& assignment = options.device_assignment;
  bool matches = assignment.size() == static_cast<size_t>(options.num_replicas);
  for (const auto& replica : assignment) {
    matches = matches && replica.size() == static_cast<size_t>(options.num_partitions);
  }
  if (!matches) {
    Fail("CompileOptions",
         "expected a device assignment of {} replicas by {} partitions, got {} "
         "by {}",
         options.num_replicas, options.num_partitions, assignment.size(),
         assignment.front().size());
  }
}

// One computation a partition, each with a device a replica.
ProtoWriter DeviceAssignment(const CompileOptions& options) {
  ProtoWriter assignment;
  assignment.Int(kReplicaCount, options.num_replicas);
  assignment.Int(kComputationCount, options.num_partitions);
  for (int partition = 0; partition < options.num_partitions; ++partition) {
    ProtoWriter ids;
    for (const auto& replica : options.device_assignment) {
      ids.Int(kReplicaDeviceIds, replica[partition]);
    }
    assignment.Message(kComputationDevices, ids);
  }
  return assignment;
}

ProtoWriter Override(const OptionOverride& value) {
  ProtoWriter result;
  if (const auto* text = std::get_if<std::string>(&value)) {
    result.Bytes(kStringField, *text);
  } else if (const auto* flag = std::get_if<bool>(&value)) {
    result.Bool(kBoolField, *flag);
  } else if (const auto* number = std::get_if<int64_t>(&value)) {
    result.Int(kIntField, *number);
  } else {
    result.Double(kDoubleField, std::get<double>(value));
  }
  return result;
}

}  // namespace

std::string Encode(const CompileOptions& options) {
  ProtoWriter build;
  build.Int(kDeviceOrdinal, -1);
  build.Int(kNumReplicas, options.num_replicas);
  build.Int(kNumPartitions, options.num_partitions);
  build.Bool(kUseSpmdPartitioning, options.use_spmd);
  if (!options.device_assignment.empty()) {
    CheckAssignment(options);
    build.Message(kDeviceAssignment, DeviceAssignment(options));
  }
  build.Bool(kUseShardyPartitioner, options.use_shardy);

  ProtoWriter result;
  result.Message(kExecutableBuildOptions, build);
  for (const auto& [name, value] : options.overrides) {
    ProtoWriter entry;
    entry.Bytes(kMapKey, name);
    entry.Message(kMapValue, Override(value));
    result.Message(kEnvOptionOverrides, entry);
  }
  return result.bytes();
}

}  // namespace sophia::pjrt
