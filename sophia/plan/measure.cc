#include "sophia/plan/measure.h"

#include <array>
#include <chrono>
#include <cmath>
#include <regex>

#include "sophia/base/error.h"
#include "sophia/base/process.h"
#include "sophia/base/stopwatch.h"
#include "sophia/plan/child.h"
#include "sophia/plan/kernel_crash.h"
#include "sophia/plan/xla_cycles.h"
#include "sophia/runtime/program.h"

namespace sophia::plan {
namespace {

constexpr int64_t kMiB = 1024 * 1024;

// What a compiler that found too little memory wanted: the early check names the total of the
// program, the allocator at the end what it used.
std::optional<int64_t> WantedBytes(const std::string& message) {
  static const std::array<std::regex, 2> kPatterns = {
      std::regex(R"(required for HLO temporaries \(([0-9.]+[BKMGT])\))"),
      std::regex(R"(Used ([0-9.]+[BKMGT]) of)")};
  for (const std::regex& pattern : kPatterns) {
    std::smatch found;
    if (std::regex_search(message, found, pattern)) return ParseBytes(found[1]);
  }
  return std::nullopt;
}

Json Compiled(const pjrt::Executable& executable) {
  const pjrt::CompiledMemoryStats stats = executable.MemoryStats();
  return {{"need", DeviceBytes(stats)}, {"offloaded", HostBytes(stats)}};
}

// Throws unless `error` says that memory ran out; else gives what was wanted.
int64_t NeedIn(const pjrt::CallError& error) {
  const std::optional<int64_t> wanted = WantedBytes(error.what());
  if (error.code() != pjrt::StatusCode::kResourceExhausted || !wanted) throw error;
  return *wanted;
}

// On a machine without a TPU; see Measurement for the members.
Json AheadOfTime(const Target& target, const Graph& graph, const CompileSettings& settings) {
  const pjrt::Topology topology =
      pjrt::Topology::Create(pjrt::Plugin::Load(*target.plugin), target.name);
  const auto start = std::chrono::steady_clock::now();
  try {
    const pjrt::Executable executable = CompileAheadOfTime(topology, graph, settings);
    Json result = Compiled(executable);
    result["seconds"] = SecondsSince(start);
    if (const auto program = executable.Optimized()) result["cycles"] = EstimatedCycles(*program);
    result["compiler"] = topology.platform_version();
    return result;
  } catch (const pjrt::CallError& error) {
    return {{"need", NeedIn(error)}, {"compiler", topology.platform_version()}};
  }
}

void RunOnZeros(const Program& program, const pjrt::Client& client) {
  std::vector<pjrt::Buffer> arguments;
  std::vector<pjrt::Buffer*> pointers;
  for (const ProgramValue& input : program.inputs()) {
    const std::vector<std::byte> zeros(static_cast<size_t>(input.shape.bytes()));
    arguments.push_back(pjrt::Buffer::FromHost(client.default_device(), input.shape, zeros));
  }
  for (pjrt::Buffer& argument : arguments) pointers.push_back(&argument);
  for (const pjrt::Buffer& result : program.Run(pointers)) result.Await();
}

Json OnCpu(const Target& target, const Graph& graph, int64_t limit, bool run,
           const CompileCache* cache) {
  const auto client = pjrt::Client::Create(pjrt::Plugin::Load(*target.plugin));
  auto start = std::chrono::steady_clock::now();
  const Program program = Program::Compile(*client, graph, {.name = "train_step", .cache = cache});
  Json result = Compiled(program.executable().executable());
  result["seconds"] = SecondsSince(start);
  const std::string name = client->platform_name();
  const std::string version = client->platform_version();
  result["compiler"] = version == name ? name : name + " " + version;
  ReleaseCompiler(*client);
  const int64_t need = result["need"].get<int64_t>() + ResidentBytes();
  result["need"] = need;
  if (!run || need > limit) return result;
  start = std::chrono::steady_clock::now();
  RunOnZeros(program, *client);
  result["step_seconds"] = SecondsSince(start);
  return result;
}

Measurement FromChild(const ChildResult& child) {
  const Json& value = child.value;
  return {.need = value["need"].get<int64_t>(),
          .offloaded = value.value("offloaded", int64_t{0}),
          .compiler_bytes = child.peak_bytes,
          .seconds = value.value("seconds", 0.0),
          .step_seconds = value.value("step_seconds", 0.0),
          .cycles = value.value("cycles", 0.0),
          .compiler = value["compiler"].get<std::string>()};
}

// AheadOfTime() in a child; a kernel that kills the compiler is an error of its line.
Measurement CompileInChild(const Target& target, const Graph& graph,
                           const CompileSettings& settings) {
  const auto compile = [&](const Graph& program, const CompileSettings& how) {
    return FromChild(RunInChild([&] { return AheadOfTime(target, program, how); }, target.name));
  };
  try {
    return compile(graph, settings);
  } catch (const ChildDied&) {
    const std::optional<Error> of_kernel =
        KernelCrashIn(graph, [&](const Graph& kernel) { compile(kernel, {}); });
    if (of_kernel) throw *of_kernel;
    throw;
  }
}

}  // namespace

int64_t DeviceBytes(const pjrt::CompiledMemoryStats& stats) {
  return stats.argument + stats.temp + stats.output - stats.alias + stats.generated_code;
}

int64_t HostBytes(const pjrt::CompiledMemoryStats& stats) {
  return stats.host_argument + stats.host_temp + stats.host_output;
}

int64_t ParseBytes(const std::string& text) {
  constexpr std::string_view kUnits = "BKMGT";
  const size_t unit = text.empty() ? std::string::npos : kUnits.find(text.back());
  if (unit == std::string::npos) Fail("compiler", "expected a size such as 5.14G, got '{}'", text);
  return static_cast<int64_t>(
      std::llround(std::stod(text) * std::pow(1024.0, static_cast<double>(unit))));
}

std::optional<int64_t> EarlyNeed(const Target& target, const Graph& graph, int64_t limit) {
  const int64_t mib = std::max<int64_t>(1, limit / kMiB);
  const CompileSettings settings{.name = "train_step",
                                 .overrides = {{"xla_tpu_max_hbm_size_mib", std::to_string(mib)}}};
  const Measurement measured = CompileInChild(target, graph, settings);
  if (measured.seconds > 0) return std::nullopt;
  return measured.need;
}

Measurement CompileForTpu(const Target& target, const Graph& graph, const CompileCache* cache) {
  const CompileSettings settings{.name = "train_step", .cache = cache};
  Measurement result = CompileInChild(target, graph, settings);
  result.complete = result.seconds > 0;
  result.fits = result.complete;
  return result;
}

Measurement MeasureOnCpu(const Target& target, const Graph& graph, int64_t limit, bool run,
                         const CompileCache* cache) {
  Measurement result =
      FromChild(RunInChild([&] { return OnCpu(target, graph, limit, run, cache); }, target.name));
  result.complete = result.step_seconds > 0;
  if (result.complete) result.need = result.compiler_bytes;
  result.fits = result.need <= limit;
  return result;
}

}  // namespace sophia::plan
