#include "sophia/pjrt/executable.h"

#include <utility>

#include "sophia/pjrt/buffer_type.h"
#include "sophia/pjrt/call.h"

namespace sophia::pjrt {
namespace {

double ToDouble(const NamedValue& value) {
  if (const auto* real = std::get_if<float>(&value)) return *real;
  if (const auto* number = std::get_if<int64_t>(&value)) return static_cast<double>(*number);
  return 0;
}

bool IsNumber(const NamedValue& value) {
  return std::holds_alternative<float>(value) || std::holds_alternative<int64_t>(value);
}

}  // namespace

Executable::Executable(std::shared_ptr<const Plugin> plugin, PJRT_Executable* executable)
    : plugin_(std::move(plugin)), executable_(executable) {}

Executable::~Executable() {
  if (executable_ != nullptr) {
    Destroy<&PJRT_Api::PJRT_Executable_Destroy>(*plugin_, {.executable = executable_});
  }
}

Executable::Executable(Executable&& other) noexcept
    : plugin_(std::move(other.plugin_)), executable_(std::exchange(other.executable_, nullptr)) {}

Executable& Executable::operator=(Executable&& other) noexcept {
  Executable taken(std::move(other));
  std::swap(plugin_, taken.plugin_);
  std::swap(executable_, taken.executable_);
  return *this;
}

std::string Executable::name() const {
  const auto args = Call<&PJRT_Api::PJRT_Executable_Name>(*plugin_, {.executable = executable_});
  return {args.executable_name, args.executable_name_size};
}

int Executable::num_replicas() const {
  return static_cast<int>(
      Call<&PJRT_Api::PJRT_Executable_NumReplicas>(*plugin_, {.executable = executable_})
          .num_replicas);
}

int Executable::num_partitions() const {
  return static_cast<int>(
      Call<&PJRT_Api::PJRT_Executable_NumPartitions>(*plugin_, {.executable = executable_})
          .num_partitions);
}

int Executable::num_outputs() const {
  return static_cast<int>(
      Call<&PJRT_Api::PJRT_Executable_NumOutputs>(*plugin_, {.executable = executable_})
          .num_outputs);
}

std::vector<Shape> Executable::output_shapes() const {
  const auto types =
      Call<&PJRT_Api::PJRT_Executable_OutputElementTypes>(*plugin_, {.executable = executable_});
  const auto dims =
      Call<&PJRT_Api::PJRT_Executable_OutputDimensions>(*plugin_, {.executable = executable_});
  std::vector<Shape> result;
  const int64_t* next = dims.dims;
  for (size_t i = 0; i < dims.num_outputs; ++i) {
    result.push_back({FromBufferType(types.output_types[i]), Dims(next, next + dims.dim_sizes[i])});
    next += dims.dim_sizes[i];
  }
  return result;
}

std::vector<std::string> Executable::output_memory_kinds() const {
  const auto args =
      Call<&PJRT_Api::PJRT_Executable_OutputMemoryKinds>(*plugin_, {.executable = executable_});
  std::vector<std::string> result;
  for (size_t i = 0; i < args.num_outputs; ++i) {
    result.emplace_back(args.memory_kinds[i], args.memory_kind_sizes[i]);
  }
  return result;
}

CompiledMemoryStats Executable::MemoryStats() const {
  const auto args = Call<&PJRT_Api::PJRT_Executable_GetCompiledMemoryStats>(
      *plugin_, {.executable = executable_, .peak_memory_in_bytes = -1});
  CompiledMemoryStats stats{
      .argument = args.argument_size_in_bytes,
      .output = args.output_size_in_bytes,
      .alias = args.alias_size_in_bytes,
      .temp = args.temp_size_in_bytes,
      .generated_code = args.generated_code_size_in_bytes,
      .host_argument = args.host_argument_size_in_bytes,
      .host_output = args.host_output_size_in_bytes,
      .host_alias = args.host_alias_size_in_bytes,
      .host_temp = args.host_temp_size_in_bytes,
      .host_generated_code = args.host_generated_code_size_in_bytes,
  };
  if (args.peak_memory_in_bytes > 0) stats.peak = args.peak_memory_in_bytes;
  return stats;
}

std::map<std::string, double> Executable::CostAnalysis() const {
  const auto args =
      TryCall<&PJRT_Api::PJRT_Executable_GetCostAnalysis>(*plugin_, {.executable = executable_});
  std::map<std::string, double> result;
  if (!args) return result;
  for (const auto& [name, value] : FromPjrt(args->properties, args->num_properties)) {
    if (IsNumber(value)) result[name] = ToDouble(value);
  }
  return result;
}

std::optional<std::string> Executable::Fingerprint() const {
  const auto args =
      TryCall<&PJRT_Api::PJRT_Executable_Fingerprint>(*plugin_, {.executable = executable_});
  if (!args || args->executable_fingerprint_size == 0) return std::nullopt;
  return std::string(args->executable_fingerprint, args->executable_fingerprint_size);
}

std::optional<OptimizedProgram> Executable::Optimized() const {
  PJRT_Program program{.struct_size = PJRT_Program_STRUCT_SIZE};
  const auto sized = TryCall<&PJRT_Api::PJRT_Executable_OptimizedProgram>(
      *plugin_, {.executable = executable_, .program = &program});
  if (!sized) return std::nullopt;
  std::string code(program.code_size, '\0');
  program.code = code.data();
  Call<&PJRT_Api::PJRT_Executable_OptimizedProgram>(
      *plugin_, {.executable = executable_, .program = &program});
  return OptimizedProgram{{program.format, program.format_size}, std::move(code)};
}

std::string Executable::Serialize() const {
  const auto args =
      Call<&PJRT_Api::PJRT_Executable_Serialize>(*plugin_, {.executable = executable_});
  std::string result(args.serialized_bytes, args.serialized_bytes_size);
  args.serialized_executable_deleter(args.serialized_executable);
  return result;
}

}  // namespace sophia::pjrt
