#include "sophia/runtime/program.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/base/stopwatch.h"
#include "sophia/graph/printer.h"
#include "sophia/runtime/kernel_errors.h"

namespace sophia {
namespace {

pjrt::CompileOptions OptionsFor(const Graph& graph, const CompileSettings& settings,
                                const std::optional<pjrt::Device>& fallback = std::nullopt) {
  pjrt::CompileOptions options;
  for (const auto& [axis, size] : graph.mesh()) {
    options.num_partitions *= static_cast<int>(size);
  }
  options.use_spmd = options.num_partitions > 1;
  options.use_shardy = !graph.mesh().empty();
  if (settings.device && settings.device != fallback && graph.mesh().empty()) {
    options.device_assignment = {{settings.device->id()}};
  }
  options.overrides = settings.overrides;
  return options;
}

// What one device holds of a value. Throws Error when the mesh cannot split it evenly.
Shape ShardOf(const Shape& shape, const std::optional<Sharding>& sharding, const Mesh& mesh,
              const std::string& name) {
  Shape shard = shape;
  if (!sharding) return shard;
  for (size_t dim = 0; dim < sharding->axes.size(); ++dim) {
    for (const std::string& axis : sharding->axes[dim]) {
      const auto found = std::ranges::find(mesh, axis, &Mesh::value_type::first);
      if (found == mesh.end()) Fail(name, "expected an axis of the mesh, got '{}'", axis);
      if (shard.dims[dim] % found->second != 0) {
        Fail(name, "expected dimension {} of {} to be a multiple of the {} devices of '{}', got {}",
             dim, ToString(shape), found->second, axis, shape.dims[dim]);
      }
      shard.dims[dim] /= found->second;
    }
  }
  return shard;
}

template <typename Options>
ProgramValue ValueOf(const Options& options, const Shape& shape, const Mesh& mesh) {
  return {options.name, shape, ShardOf(shape, options.sharding, mesh, options.name)};
}

std::vector<ProgramValue> InputsOf(const Graph& graph) {
  std::vector<ProgramValue> values;
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const Shape& shape = graph.main().parameters[i]->results[0];
    values.push_back(ValueOf(graph.inputs()[i], shape, graph.mesh()));
  }
  return values;
}

std::vector<ProgramValue> OutputsOf(const Graph& graph) {
  std::vector<ProgramValue> values;
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    const Shape& shape = graph.main().results[i].shape();
    values.push_back(ValueOf(graph.outputs()[i], shape, graph.mesh()));
  }
  return values;
}

// Compiles; a refused kernel is an error of its line.
template <typename Compile>
auto NamingKernels(const Graph& graph, const Compile& compile) {
  try {
    return compile();
  } catch (const pjrt::CallError& error) {
    if (const std::optional<Error> of_kernel = KernelErrorIn(error, graph)) throw *of_kernel;
    throw;
  }
}

}  // namespace

Program Program::Compile(const pjrt::Client& client, const Graph& graph,
                         const CompileSettings& settings) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<ProgramValue> inputs = InputsOf(graph);
  std::vector<ProgramValue> outputs = OutputsOf(graph);
  const std::string text = ToStableHlo(graph, settings.name);
  const pjrt::CompileOptions options = OptionsFor(graph, settings, client.default_device());
  const std::string key = settings.cache == nullptr ? "" : CompileCache::Key(client, text, options);
  std::optional<Program> program;
  if (settings.cache != nullptr) {
    if (const std::optional<std::string> stored = settings.cache->Load(key)) {
      try {
        program = Program(pjrt::LoadedExecutable::Deserialize(client, *stored));
        program->from_cache_ = true;
      } catch (const Error&) {
        program.reset();
      }
    }
  }
  if (!program) {
    program = Program(NamingKernels(
        graph, [&] { return pjrt::LoadedExecutable::Compile(client, text, options); }));
    if (settings.cache != nullptr) {
      settings.cache->Store(key, program->executable_.executable().Serialize());
    }
  }
  program->inputs_ = std::move(inputs);
  program->outputs_ = std::move(outputs);
  program->compile_seconds_ = SecondsSince(start);
  return *std::move(program);
}

void Program::CheckArguments(std::string_view where, size_t device,
                             std::span<pjrt::Buffer* const> arguments) const {
  if (arguments.size() != inputs_.size()) {
    Fail(where, "expected {} arguments, got {}", inputs_.size(), arguments.size());
  }
  for (size_t i = 0; i < arguments.size(); ++i) {
    const pjrt::Buffer& buffer = *arguments[i];
    if (const Shape shape = buffer.shape(); shape != inputs_[i].shard) {
      Fail(where, "expected {} for '{}', got {}", ToString(inputs_[i].shard), inputs_[i].name,
           ToString(shape));
    }
    if (buffer.device() != devices_[device]) {
      Fail(where, "expected '{}' on {}, got it on {}", inputs_[i].name,
           devices_[device].Description().text, buffer.device().Description().text);
    }
  }
}

std::vector<pjrt::Buffer> Program::Run(std::span<pjrt::Buffer* const> arguments) const {
  constexpr std::string_view kWhere = "Program::Run";
  if (devices_.size() != 1) Fail(kWhere, "expected a program of 1 device, got {}", devices_.size());
  CheckArguments(kWhere, 0, arguments);
  return executable_.Execute(arguments);
}

std::vector<std::vector<pjrt::Buffer>> Program::RunSharded(
    std::span<const std::vector<pjrt::Buffer*>> arguments) const {
  constexpr std::string_view kWhere = "Program::RunSharded";
  if (arguments.size() != devices_.size()) {
    Fail(kWhere, "expected the arguments of {} devices, got {}", devices_.size(), arguments.size());
  }
  for (size_t device = 0; device < devices_.size(); ++device) {
    CheckArguments(kWhere, device, arguments[device]);
  }
  return executable_.ExecuteSharded(arguments);
}

void ReleaseCompiler(const pjrt::Client& client) {
  client.plugin().DropCode();
  malloc_trim(0);
}

pjrt::Executable CompileAheadOfTime(const pjrt::Topology& topology, const Graph& graph,
                                    const CompileSettings& settings) {
  const std::string text = ToStableHlo(graph, settings.name);
  const pjrt::CompileOptions options = OptionsFor(graph, settings);
  pjrt::Executable executable =
      NamingKernels(graph, [&] { return pjrt::CompileAheadOfTime(topology, text, options); });
  if (settings.cache != nullptr) {
    settings.cache->Store(CompileCache::Key(topology, text, options), executable.Serialize());
  }
  return executable;
}

}  // namespace sophia
