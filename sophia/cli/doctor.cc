#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/strings.h"
#include "sophia/cli/app.h"
#include "sophia/cli/commands.h"
#include "sophia/cli/engine.h"
#include "sophia/cli/host.h"
#include "sophia/cli/project.h"
#include "sophia/pjrt/buffer.h"
#include "sophia/pjrt/executable.h"
#include "sophia/pjrt/topology.h"
#include "sophia/runtime/cache.h"

namespace sophia::cli {
namespace fs = std::filesystem;
namespace {

void PrintLine(std::string_view name, std::string_view text) {
  fmt::print("  {:<11} {}\n", name, text);
}

// What the examination found: platforms that can run programs, and what to do about the rest.
struct Findings {
  std::vector<std::string> ready;
  std::vector<std::string> fixes;
};

void ExamineMachine() {
  const Host host = ThisHost();
  fmt::print("machine\n");
  PrintLine("sophia", kVersion);
  PrintLine("processor", host.processor.empty() ? "unknown" : host.processor);
  PrintLine("cores", fmt::format("{}", host.cores));
  PrintLine("memory",
            fmt::format("{} of {} free", HumanBytes(host.free_memory), HumanBytes(host.memory)));
}

void ExamineCache(Findings& findings) {
  fmt::print("compiled programs\n");
  const auto cache = CompileCache::Default();
  if (!cache) {
    PrintLine("folder", "none: each run compiles again");
    return;
  }
  PrintLine("folder", cache->folder().string());
  try {
    MakeWritableFolder(cache->folder());
  } catch (const Error& error) {
    PrintLine("problem", error.what());
    findings.fixes.emplace_back("set SOPHIA_CACHE_DIR to a folder that can be written to");
    return;
  }
  const CompileCache::Usage usage = cache->CountUsage();
  std::error_code ignored;
  const fs::space_info disk = fs::space(cache->folder(), ignored);
  PrintLine("holds",
            fmt::format("{} programs, {} of at most {}; {} free on the disk", usage.programs,
                        HumanBytes(usage.bytes), HumanBytes(cache->most_bytes()),
                        HumanBytes(static_cast<double>(disk.available))));
}

void ExamineModels() {
  fmt::print("models\n");
  const auto models = FindInProject(".deps/models");
  if (!models) {
    PrintLine("none", "`tools/setup.sh build` installs SmolLM2 for the demo");
    return;
  }
  for (const auto& entry : fs::directory_iterator(*models)) {
    PrintLine(HumanBytes(static_cast<double>(entry.file_size())), entry.path().string());
  }
}

struct Platform {
  std::string_view name;
  std::string_view purpose;    // what its plugin is needed for
  std::string_view install;    // how to get it
  bool (*has_device)();        // whether opening it can succeed
  std::string_view no_device;  // what its plugin is good for without one
};

constexpr Platform kTpu = {"tpu", "only for TPUs",
                           "run `tools/setup.sh build`, which installs libtpu", pjrt::HasTpu,
                           "no TPU here: programs can be compiled for one, not run"};
constexpr std::array<Platform, 3> kPlatforms = {{
    {"cpu", "by default", "run `tools/setup.sh build`, or set --plugin", [] { return true; }, ""},
    kTpu,
    {"cuda", "only for NVIDIA GPUs", "install jax-cuda12-plugin, or set --plugin",
     [] { return fs::exists("/dev/nvidiactl"); }, "no NVIDIA device here"},
}};

void PrintPlugin(const pjrt::Plugin& plugin) {
  const pjrt::ApiVersion version = plugin.api_version();
  PrintLine("plugin", plugin.path().string());
  std::string text = fmt::format("PJRT API {}.{}", version.major_version, version.minor_version);
  const pjrt::NamedValues attributes = plugin.Attributes();
  if (const auto found = attributes.find("stablehlo_current_version"); found != attributes.end()) {
    if (const auto* parts = std::get_if<std::vector<int64_t>>(&found->second)) {
      text += fmt::format(", StableHLO {}", fmt::join(*parts, "."));
    }
  }
  PrintLine("versions", text);
}

void PrintDevices(const pjrt::Client& client) {
  const std::string version = client.platform_version();
  if (version != client.platform_name()) PrintLine("platform", version);
  const std::vector<pjrt::Device> devices = client.addressable_devices();
  for (size_t i = 0; i < devices.size(); ++i) {
    const pjrt::Device& device = devices[i];
    std::vector<std::string> kinds;
    for (const pjrt::Memory& memory : device.memories()) kinds.push_back(memory.kind());
    std::string text = fmt::format("{} {}, memory: {}", DeviceName(client, i),
                                   device.Description().text, Join(kinds, ", "));
    if (const auto stats = device.MemoryStats(); stats && stats->bytes_limit) {
      text += fmt::format(", {} of {} in use", HumanBytes(stats->bytes_in_use),
                          HumanBytes(*stats->bytes_limit));
    }
    PrintLine("device", text);
  }
}

// Throws Error unless the client compiles and runs a program.
void TryProgram(const pjrt::Client& client) {
  const auto program = pjrt::LoadedExecutable::Compile(client, R"(
    func.func public @main() -> tensor<f32> {
      %two = stablehlo.constant dense<2.0> : tensor<f32>
      %four = stablehlo.add %two, %two : tensor<f32>
      return %four : tensor<f32>
    })");
  const float sum = program.Execute({})[0].ToVector<float>()[0];
  if (sum != 4) Fail(client.platform_name(), "expected 2 + 2 to be 4, got {}", sum);
}

void ExamineDevices(const std::shared_ptr<const pjrt::Client>& client, Findings& findings) {
  PrintDevices(*client);
  TryProgram(*client);
  PrintLine("status", "ready: compiled and ran a program");
  findings.ready.push_back(client->platform_name());
}

void PrintProblem(const Error& error, std::string fix, Findings& findings) {
  PrintLine("problem", Join(Split(error.what(), '\n'), "\n             "));
  findings.fixes.push_back(std::move(fix));
}

// Says what there is of a platform that may be used by default.
void ExaminePlatform(const Platform& platform, Findings& findings) {
  fmt::print("{}\n", platform.name);
  const bool is_wanted = platform.has_device();
  try {
    const auto plugin =
        pjrt::Plugin::Load(pjrt::FindPlugin({.platform = std::string(platform.name)}));
    PrintPlugin(*plugin);
    if (!is_wanted) {
      PrintLine("status", platform.no_device);
      return;
    }
    ExamineDevices(pjrt::Client::Create(plugin), findings);
  } catch (const Error& error) {
    if (is_wanted) {
      PrintProblem(error, fmt::format("{}: {}", platform.name, platform.install), findings);
    } else {
      PrintLine("status",
                fmt::format("no plugin, needed {}: {}", platform.purpose, platform.install));
    }
  }
}

// libtpu opens no client without a TPU, but knows topologies.
bool IsTpuPlugin(const std::shared_ptr<const pjrt::Plugin>& plugin) {
  try {
    return pjrt::Topology::Create(plugin, "v5e:1x1").platform_name() == "tpu";
  } catch (const Error&) {
    return false;
  }
}

// Says what the plugin that the user chose is good for.
void ExamineChosen(const pjrt::PluginSearch& search, Findings& findings) {
  const std::string_view by = search.path ? "--plugin" : "SOPHIA_PJRT_PLUGIN";
  const auto print_title = [&](std::string_view name) { fmt::print("{}, by {}\n", name, by); };
  try {
    const auto plugin = pjrt::Plugin::Load(pjrt::FindPlugin(search));
    if (!pjrt::HasTpu() && IsTpuPlugin(plugin)) {
      print_title(kTpu.name);
      PrintPlugin(*plugin);
      PrintLine("status", kTpu.no_device);
      return;
    }
    const auto client = pjrt::Client::Create(plugin);
    print_title(client->platform_name());
    PrintPlugin(*plugin);
    ExamineDevices(client, findings);
  } catch (const Error& error) {
    print_title("plugin");
    PrintProblem(error, fmt::format("set {} to a PJRT plugin that works here", by), findings);
  }
}

void PrintConclusion(const Findings& findings) {
  fmt::print("\n");
  if (findings.ready.empty()) {
    fmt::print("No device is ready.\n");
  } else {
    fmt::print("Ready: {}. Next: `make demo`, or `sophia train --help`.\n",
               Join(findings.ready, ", "));
  }
  for (const std::string& fix : findings.fixes) fmt::print("To fix: {}\n", fix);
}

}  // namespace

int RunDoctor(const Values& values) {
  Findings findings;
  ExamineMachine();
  ExamineCache(findings);
  ExamineModels();
  pjrt::PluginSearch search;
  if (values.Has("plugin")) search.path = values.NeedText("plugin");
  const char* variable = std::getenv("SOPHIA_PJRT_PLUGIN");
  const bool is_chosen = search.path || (variable != nullptr && *variable != '\0');
  if (is_chosen) {
    ExamineChosen(search, findings);
  } else {
    for (const Platform& platform : kPlatforms) ExaminePlatform(platform, findings);
  }
  PrintConclusion(findings);
  const bool works = is_chosen ? !findings.ready.empty()
                               : std::ranges::find(findings.ready, "cpu") != findings.ready.end();
  return works ? 0 : 1;
}

}  // namespace sophia::cli
