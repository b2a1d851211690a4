#include "sophia/runtime/program.h"

#include <chrono>

#include "sophia/base/error.h"
#include "sophia/graph/printer.h"

namespace sophia {
namespace {

pjrt::CompileOptions OptionsFor(const Graph& graph, const CompileSettings& settings) {
  pjrt::CompileOptions options;
  for (const auto& [axis, size] : graph.mesh()) {
    options.num_partitions *= static_cast<int>(size);
  }
  options.use_spmd = options.num_partitions > 1;
  options.use_shardy = !graph.mesh().empty();
  if (settings.device && graph.mesh().empty()) {
    options.device_assignment = {{settings.device->id()}};
  }
  options.overrides = settings.overrides;
  return options;
}

}  // namespace

Program Program::Compile(const pjrt::Client& client, const Graph& graph,
                         const CompileSettings& settings) {
  const auto start = std::chrono::steady_clock::now();
  const std::string text = ToStableHlo(graph, settings.name);
  const pjrt::CompileOptions options = OptionsFor(graph, settings);
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
    program = Program(pjrt::LoadedExecutable::Compile(client, text, options));
    if (settings.cache != nullptr) {
      settings.cache->Store(key, program->executable_.executable().Serialize());
    }
  }
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    program->inputs_.push_back({graph.inputs()[i].name, graph.main().parameters[i]->results[0]});
  }
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    program->outputs_.push_back({graph.outputs()[i].name, graph.main().results[i].shape()});
  }
  program->compile_seconds_ =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return *std::move(program);
}

std::vector<pjrt::Buffer> Program::Run(std::span<pjrt::Buffer* const> arguments) const {
  if (arguments.size() != inputs_.size()) {
    Fail("Program::Run", "expected {} arguments, got {}", inputs_.size(), arguments.size());
  }
  for (size_t i = 0; i < arguments.size(); ++i) {
    const Shape shape = arguments[i]->shape();
    if (shape != inputs_[i].shape) {
      Fail("Program::Run", "expected {} for '{}', got {}", ToString(inputs_[i].shape),
           inputs_[i].name, ToString(shape));
    }
  }
  return executable_.Execute(arguments);
}

std::vector<std::vector<pjrt::Buffer>> Program::RunSharded(
    std::span<const std::vector<pjrt::Buffer*>> arguments) const {
  return executable_.ExecuteSharded(arguments);
}

pjrt::Executable CompileAheadOfTime(const pjrt::Topology& topology, const Graph& graph,
                                    const CompileSettings& settings) {
  return pjrt::CompileAheadOfTime(topology, ToStableHlo(graph, settings.name),
                                  OptionsFor(graph, settings));
}

}  // namespace sophia
