#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/graph/graph.h"
#include "sophia/pjrt/buffer.h"
#include "sophia/pjrt/executable.h"
#include "sophia/pjrt/topology.h"
#include "sophia/runtime/cache.h"

namespace sophia {

// What a compiled program takes or gives, in order.
struct ProgramValue {
  std::string name;
  Shape shape;
  Shape shard;  // the part that each device holds; `shape` itself where nothing splits it
};

struct CompileSettings {
  std::string name = "sophia";  // of the module, for profiles
  std::map<std::string, pjrt::OptionOverride> overrides = {};
  // Where a program without a mesh runs; nullopt: on the client's default device.
  std::optional<pjrt::Device> device = std::nullopt;
  // Where to look for and keep the compiled program; nullptr compiles always. Ahead of time: where
  // to keep it for a client of such devices.
  const CompileCache* cache = nullptr;
};

// A traced graph, compiled for a client's devices. A graph with a mesh is partitioned over as many
// devices as the mesh has. Outputs that alias an input take its buffer over (donation).
class Program {
 public:
  static Program Compile(const pjrt::Client& client, const Graph& graph,
                         const CompileSettings& settings = {});

  const std::vector<ProgramValue>& inputs() const { return inputs_; }
  const std::vector<ProgramValue>& outputs() const { return outputs_; }

  // On one device, without waiting for the end. Throws Error naming the input when a buffer has
  // another shape than traced or lies on another device.
  std::vector<pjrt::Buffer> Run(std::span<pjrt::Buffer* const> arguments) const;
  // On every device: arguments and results as [device][index], each device's shard, devices in the
  // order of executable().devices(). Throws Error as Run.
  std::vector<std::vector<pjrt::Buffer>> RunSharded(
      std::span<const std::vector<pjrt::Buffer*>> arguments) const;

  const pjrt::LoadedExecutable& executable() const { return executable_; }
  double compile_seconds() const { return compile_seconds_; }
  bool from_cache() const { return from_cache_; }

 private:
  explicit Program(pjrt::LoadedExecutable executable)
      : executable_(std::move(executable)), devices_(executable_.devices()) {}

  void CheckArguments(std::string_view where, size_t device,
                      std::span<pjrt::Buffer* const> arguments) const;

  pjrt::LoadedExecutable executable_;
  std::vector<pjrt::Device> devices_;
  std::vector<ProgramValue> inputs_;
  std::vector<ProgramValue> outputs_;
  double compile_seconds_ = 0;
  bool from_cache_ = false;
};

// Gives the compiler's code and working memory back to the system, once all is compiled.
void ReleaseCompiler(const pjrt::Client& client);

// Compiles a graph for devices that need not be here, such as a TPU.
pjrt::Executable CompileAheadOfTime(const pjrt::Topology& topology, const Graph& graph,
                                    const CompileSettings& settings = {});

}  // namespace sophia
