#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/base/shape.h"
#include "sophia/pjrt/buffer.h"
#include "sophia/pjrt/client.h"
#include "sophia/pjrt/compile_options.h"

struct PJRT_Executable;
struct PJRT_LoadedExecutable;

namespace sophia::pjrt {

// Bytes that one device needs to run the program, as the compiler planned them.
struct CompiledMemoryStats {
  int64_t argument = 0;
  int64_t output = 0;
  int64_t alias = 0;  // of the arguments that outputs reuse
  int64_t temp = 0;
  int64_t generated_code = 0;
  // The most in use at a time; absent where the plugin does not say. With arguments or outputs in
  // host memory, libtpu counts those too.
  std::optional<int64_t> peak;
  int64_t host_argument = 0;
  int64_t host_output = 0;
  int64_t host_alias = 0;
  int64_t host_temp = 0;
  int64_t host_generated_code = 0;
};

// A program in a plugin's own format: "hlo" (HloModuleProto), "hlo_with_config" or "mlir".
struct OptimizedProgram {
  std::string format;
  std::string code;
};

// A compiled program, not necessarily for devices that are here. Move-only.
class Executable {
 public:
  // Takes ownership of `executable`.
  Executable(std::shared_ptr<const Plugin> plugin, PJRT_Executable* executable);
  ~Executable();
  Executable(Executable&& other) noexcept;
  Executable& operator=(Executable&& other) noexcept;

  std::string name() const;
  int num_replicas() const;
  int num_partitions() const;
  int num_outputs() const;
  std::vector<Shape> output_shapes() const;  // of one device's outputs
  std::vector<std::string> output_memory_kinds() const;

  CompiledMemoryStats MemoryStats() const;
  // The compiler's estimates by name, such as "flops" and "bytes accessed"; empty where not
  // offered.
  std::map<std::string, double> CostAnalysis() const;
  // Equal for equal programs, options and compilers; nullopt where not offered.
  std::optional<std::string> Fingerprint() const;
  // The program after the compiler's passes, nullopt where not offered.
  std::optional<OptimizedProgram> Optimized() const;

  // For LoadedExecutable::Deserialize of the same plugin and version.
  std::string Serialize() const;

 private:
  std::shared_ptr<const Plugin> plugin_;
  PJRT_Executable* executable_ = nullptr;
};

struct ExecuteOptions {
  // Arguments that must survive although the program may alias them.
  std::vector<int64_t> non_donatable;
};

// A program ready to run on its client's devices. Move-only.
class LoadedExecutable {
 public:
  // Compiles StableHLO text or bytecode. Throws CallError.
  static LoadedExecutable Compile(const Client& client, std::string_view mlir,
                                  const CompileOptions& options = {});
  static LoadedExecutable Deserialize(const Client& client, std::string_view serialized);

  ~LoadedExecutable();
  LoadedExecutable(LoadedExecutable&& other) noexcept;
  LoadedExecutable& operator=(LoadedExecutable&& other) noexcept;

  const Executable& executable() const { return executable_; }
  // The devices it runs on, in the order of ExecuteSharded's lists.
  std::vector<Device> devices() const;

  // Runs on one device, without waiting for the end. An argument whose program parameter carries
  // tf.aliasing_output or jax.buffer_donor is donated: its buffer is deleted. Throws CallError at
  // once or when a result is awaited.
  std::vector<Buffer> Execute(std::span<Buffer* const> arguments,
                              const ExecuteOptions& options = {}) const;

  // Arguments and results as [device][index], devices in the order of devices().
  std::vector<std::vector<Buffer>> ExecuteSharded(std::span<const std::vector<Buffer*>> arguments,
                                                  const ExecuteOptions& options = {}) const;

 private:
  LoadedExecutable(std::shared_ptr<const Client> client, PJRT_LoadedExecutable* executable);

  std::shared_ptr<const Client> client_;
  PJRT_LoadedExecutable* loaded_ = nullptr;
  Executable executable_;
  int num_outputs_ = 0;
};

}  // namespace sophia::pjrt
