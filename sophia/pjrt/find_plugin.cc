#include <algorithm>
#include <cstdlib>
#include <functional>
#include <vector>

#include "sophia/base/strings.h"
#include "sophia/pjrt/plugin.h"

namespace sophia::pjrt {
namespace {

namespace fs = std::filesystem;

struct PlatformFiles {
  std::string_view platform;
  std::string_view deps_name;                 // under .deps/plugins
  std::vector<std::string> in_site_packages;  // a folder may end in '*'
};

const std::vector<PlatformFiles>& Platforms() {
  static const std::vector<PlatformFiles> kPlatforms = {
      {"cpu", "pjrt_cpu.so", {"lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so"}},
      {"tpu", "libtpu.so", {"libtpu/libtpu.so"}},
      {"cuda", "pjrt_cuda.so", {"jax_plugins/xla_cuda*/xla_cuda_plugin.so"}},
  };
  return kPlatforms;
}

std::optional<fs::path> Environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return fs::path(value);
}

// Paths that match `pattern`, in which one folder name may end in '*', newest name first.
std::vector<fs::path> Matches(const fs::path& base, const fs::path& pattern) {
  std::vector<fs::path> found = {base};
  for (const fs::path& part : pattern) {
    std::vector<fs::path> next;
    for (const fs::path& folder : found) {
      if (!part.native().ends_with('*')) {
        next.push_back(folder / part);
        continue;
      }
      const std::string prefix = part.native().substr(0, part.native().size() - 1);
      std::error_code ignored;
      for (const auto& entry : fs::directory_iterator(folder, ignored)) {
        if (entry.path().filename().native().starts_with(prefix)) next.push_back(entry.path());
      }
    }
    std::sort(next.begin(), next.end(), std::greater<>());
    found = std::move(next);
  }
  return found;
}

// .deps/plugins beside or above the program and the current folder.
std::vector<fs::path> DepsFolders() {
  std::vector<fs::path> result;
  std::error_code ignored;
  for (fs::path folder :
       {fs::read_symlink("/proc/self/exe", ignored).parent_path(), fs::current_path(ignored)}) {
    for (; !folder.empty(); folder = folder.parent_path()) {
      const fs::path candidate = folder / ".deps" / "plugins";
      if (fs::is_directory(candidate, ignored) &&
          std::find(result.begin(), result.end(), candidate) == result.end()) {
        result.push_back(candidate);
      }
      if (folder == folder.root_path()) break;
    }
  }
  return result;
}

// Folders of installed Python packages: active environments first, then the user's, then the
// system's.
std::vector<fs::path> SitePackages() {
  std::vector<fs::path> prefixes;
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    if (const auto prefix = Environment(name)) prefixes.push_back(*prefix);
  }
  if (const auto home = Environment("HOME")) prefixes.push_back(*home / ".local");
  prefixes.insert(prefixes.end(), {"/usr/local", "/usr"});
  std::vector<fs::path> result;
  for (const fs::path& prefix : prefixes) {
    for (const char* kind : {"site-packages", "dist-packages"}) {
      const auto folders = Matches(prefix, fs::path("lib/python3*") / kind);
      std::error_code ignored;
      std::copy_if(folders.begin(), folders.end(), std::back_inserter(result),
                   [&](const fs::path& folder) { return fs::is_directory(folder, ignored); });
    }
  }
  return result;
}

std::vector<fs::path> Candidates(const PlatformFiles& files) {
  std::vector<fs::path> result;
  for (const fs::path& folder : DepsFolders()) result.push_back(folder / files.deps_name);
  if (files.platform == "tpu") {
    if (const auto path = Environment("TPU_LIBRARY_PATH")) result.push_back(*path);
  }
  for (const fs::path& folder : SitePackages()) {
    for (const std::string& pattern : files.in_site_packages) {
      const auto found = Matches(folder, pattern);
      if (found.empty()) {
        result.push_back(folder / pattern);
      } else {
        result.insert(result.end(), found.begin(), found.end());
      }
    }
  }
  if (files.platform == "tpu") {
    result.insert(result.end(), {"/lib/libtpu.so", "/usr/lib/libtpu.so"});
  }
  return result;
}

}  // namespace

std::vector<fs::path> PluginCandidates(std::string_view platform) {
  std::vector<std::string> known;
  for (const PlatformFiles& files : Platforms()) {
    if (files.platform == platform) return Candidates(files);
    known.emplace_back(files.platform);
  }
  Fail("plugin", "expected platform cpu, tpu or cuda, got {}{}", platform,
       DidYouMean(platform, known));
}

fs::path FindPlugin(const PluginSearch& search) {
  std::error_code ignored;
  if (search.path) {
    if (fs::is_regular_file(*search.path, ignored)) return *search.path;
    Fail("plugin", "expected a plugin's file, got {}", search.path->native());
  }
  if (const auto path = Environment("SOPHIA_PJRT_PLUGIN")) {
    if (fs::is_regular_file(*path, ignored)) return *path;
    Fail("SOPHIA_PJRT_PLUGIN", "expected a plugin's file, got {}", path->native());
  }
  std::string looked;
  for (const fs::path& path : PluginCandidates(search.platform)) {
    if (fs::is_regular_file(path, ignored)) return path;
    looked += "\n  " + path.native();
  }
  Fail("plugin",
       "expected a PJRT plugin for {}, got none; set --plugin or SOPHIA_PJRT_PLUGIN, or install "
       "one; looked at:{}",
       search.platform, looked.empty() ? " no existing folder" : looked);
}

}  // namespace sophia::pjrt
