#include "sophia/runtime/cache.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/sha256.h"

namespace sophia {
namespace fs = std::filesystem;
namespace {

// The processor's name and instruction sets.
std::string Processor() {
  std::ifstream info("/proc/cpuinfo");
  std::string text;
  for (std::string line; std::getline(info, line) && !line.empty();) {
    if (line.starts_with("model name") || line.starts_with("flags")) text += line + '\n';
  }
  return text;
}

fs::path BesideProgram() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::path() : program.parent_path() / "cache";
}

bool CanWrite(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  return !error && access(folder.c_str(), W_OK) == 0;
}

}  // namespace

std::optional<CompileCache> CompileCache::Default() {
  if (const char* given = std::getenv("SOPHIA_CACHE_DIR"); given != nullptr) {
    if (*given == '\0') return std::nullopt;
    return CompileCache(given);
  }
  const fs::path beside = BesideProgram();
  if (!beside.empty() && CanWrite(beside)) return CompileCache(beside);
  if (const char* base = std::getenv("XDG_CACHE_HOME"); base != nullptr && *base != '\0') {
    return CompileCache(fs::path(base) / "sophia");
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    return CompileCache(fs::path(home) / ".cache" / "sophia");
  }
  return std::nullopt;
}

std::string CompileCache::Key(const pjrt::Client& client, std::string_view mlir,
                              const pjrt::CompileOptions& options) {
  Sha256 hash;
  const auto add = [&](std::string_view part) {
    hash.Update(std::to_string(part.size()) + ":");
    hash.Update(part);
  };
  add(mlir);
  add(pjrt::Encode(options));
  add(client.plugin().Identity());
  add(client.platform_version());
  if (client.platform_name() == "cpu") add(Processor());
  return hash.HexDigest();
}

std::optional<std::string> CompileCache::Load(const std::string& key) const {
  const fs::path path = folder_ / key;
  if (!fs::exists(path)) return std::nullopt;
  try {
    std::string text = ReadFile(path);
    const size_t digest = 64;
    if (text.size() < digest || Sha256Hex(std::string_view(text).substr(digest)) !=
                                    std::string_view(text).substr(0, digest)) {
      return std::nullopt;
    }
    return text.substr(digest);
  } catch (const Error&) {
    return std::nullopt;
  }
}

void CompileCache::Store(const std::string& key, const std::string& serialized) const {
  try {
    MakeWritableFolder(folder_);
    WriteFile(folder_ / key, Sha256Hex(serialized) + serialized);
  } catch (const Error&) {
    return;
  }
}

}  // namespace sophia
