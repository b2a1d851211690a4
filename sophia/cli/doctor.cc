#include <fmt/format.h>
#include <sched.h>

#include <array>
#include <fstream>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/cli/app.h"
#include "sophia/cli/commands.h"
#include "sophia/cli/engine.h"
#include "sophia/cli/project.h"
#include "sophia/pjrt/client.h"
#include "sophia/runtime/cache.h"

namespace sophia::cli {
namespace fs = std::filesystem;
namespace {

void PrintLine(std::string_view name, std::string_view text) {
  fmt::print("{:<12}{}\n", name, text);
}

int Cores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

// A line such as "MemAvailable:  123 kB" of /proc/meminfo, in bytes.
double MemoryInfo(std::string_view name) {
  std::ifstream info("/proc/meminfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with(name)) return 1024 * std::stod(line.substr(name.size() + 1));
  }
  return 0;
}

void PrintMachine() {
  PrintLine("sophia", kVersion);
  PrintLine("cores", fmt::format("{}", Cores()));
  PrintLine("memory", fmt::format("{} of {} free", HumanBytes(MemoryInfo("MemAvailable")),
                                  HumanBytes(MemoryInfo("MemTotal"))));
  const auto cache = CompileCache::Default();
  PrintLine("programs", cache
                            ? fmt::format("compiled ones are kept in {}", cache->folder().string())
                            : "compiled ones are not kept");
}

void PrintPlugin(const pjrt::Plugin& plugin) {
  const pjrt::ApiVersion version = plugin.api_version();
  PrintLine("  plugin", plugin.path().string());
  PrintLine("  PJRT API", fmt::format("{}.{}", version.major_version, version.minor_version));
  for (const auto& [name, value] : plugin.Attributes()) {
    if (name == "xla_version" || name == "stablehlo_current_version") {
      PrintLine("  " + name.substr(0, name.find('_')), pjrt::ToString(value));
    }
  }
}

void PrintDevices(const pjrt::Client& client) {
  PrintLine("  platform", client.platform_name() + " " + client.platform_version());
  const std::vector<pjrt::Device> devices = client.addressable_devices();
  for (size_t i = 0; i < devices.size(); ++i) {
    const pjrt::Device& device = devices[i];
    std::string text = DeviceName(client, i) + " " + device.Description().text;
    if (const auto stats = device.MemoryStats(); stats && stats->bytes_limit) {
      text += fmt::format(", {} of {} in use", HumanBytes(static_cast<double>(stats->bytes_in_use)),
                          HumanBytes(static_cast<double>(*stats->bytes_limit)));
    }
    PrintLine("  device", text);
  }
}

struct Platform {
  std::string_view name;
  std::string_view fix;        // when there is no plugin
  bool (*has_device)();        // whether opening it can succeed
  std::string_view no_device;  // when not
};

constexpr std::array<Platform, 3> kPlatforms = {{
    {"cpu", "run `tools/setup.sh build`, or set --plugin", [] { return true; }, ""},
    {"tpu", "needed only for TPUs: `tools/setup.sh build` installs libtpu", pjrt::HasTpu,
     "no TPU here: programs can be compiled for one, not run"},
    {"cuda", "needed only for NVIDIA GPUs: install jax-cuda12-plugin, or set --plugin",
     [] { return fs::exists("/dev/nvidiactl"); }, "no NVIDIA device here"},
}};

void PrintDownloads() {
  const auto models = FindInProject(".deps/models");
  if (!models) {
    PrintLine("model", "no .deps/models here; `tools/setup.sh build` installs SmolLM2");
    return;
  }
  for (const auto& entry : fs::directory_iterator(*models)) {
    PrintLine("model", fmt::format("{}, {}", entry.path().string(),
                                   HumanBytes(static_cast<double>(entry.file_size()))));
  }
}

// Says what there is of a platform; true if it can run programs.
bool Examine(const Platform& platform, const Values& values) {
  fmt::print("{}\n", platform.name);
  pjrt::PluginSearch search{.platform = std::string(platform.name)};
  if (values.Has("plugin")) search.path = values.NeedText("plugin");
  try {
    const auto plugin = pjrt::Plugin::Load(pjrt::FindPlugin(search));
    PrintPlugin(*plugin);
    if (!platform.has_device()) {
      PrintLine("  device", platform.no_device);
      return false;
    }
    PrintDevices(*pjrt::Client::Create(plugin));
    PrintLine("  status", "ready");
    return true;
  } catch (const Error& error) {
    PrintLine("  problem", error.what());
    PrintLine("  to fix", platform.fix);
    return false;
  }
}

}  // namespace

int RunDoctor(const Values& values) {
  PrintMachine();
  PrintDownloads();
  bool any_works = false;
  bool cpu_works = false;
  for (const Platform& platform : kPlatforms) {
    const bool works = Examine(platform, values);
    any_works = any_works || works;
    if (platform.name == "cpu") cpu_works = works;
    const bool chosen = values.Has("plugin") || std::getenv("SOPHIA_PJRT_PLUGIN") != nullptr;
    if (chosen) break;
  }
  fmt::print("\n{}\n", cpu_works   ? "Everything that the CPU default needs is here."
                       : any_works ? "An accelerator is ready; the CPU default is not."
                                   : "No device is ready: see `to fix` above.");
  return cpu_works ? 0 : 1;
}

}  // namespace sophia::cli
