#include "sophia/runtime/cache.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <vector>

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

constexpr size_t kDigest = 64;  // hexadecimal digits of SHA-256

struct Entry {
  fs::path path;
  fs::file_time_type used;
  int64_t bytes;
};

// A key, or a key with more behind it: the temporary name of a file being written.
bool IsOfCache(const std::string& name) {
  return name.size() >= kDigest && name.find_first_not_of("0123456789abcdef") >= kDigest;
}

// The files of `folder`, least recently used first. Files may vanish at any time.
std::vector<Entry> EntriesOf(const fs::path& folder) {
  std::vector<Entry> entries;
  std::error_code error;
  for (const auto& file : fs::directory_iterator(folder, error)) {
    if (!IsOfCache(file.path().filename().native())) continue;
    const auto used = file.last_write_time(error);
    if (error) continue;
    const auto bytes = static_cast<int64_t>(file.file_size(error));
    if (!error) entries.push_back({file.path(), used, bytes});
  }
  std::ranges::sort(entries, {}, &Entry::used);
  return entries;
}

bool IsComplete(const Entry& entry) { return entry.path.filename().native().size() == kDigest; }

// What a process left behind that ended while writing.
bool IsStale(const Entry& entry) {
  return !IsComplete(entry) &&
         fs::file_time_type::clock::now() - entry.used > std::chrono::hours(1);
}

struct Platform {
  const pjrt::Plugin& plugin;
  std::string name;
  std::string version;
};

std::string KeyOf(const Platform& platform, std::string_view mlir,
                  const pjrt::CompileOptions& options) {
  Sha256 hash;
  const auto add = [&](std::string_view part) {
    hash.Update(std::to_string(part.size()) + ":");
    hash.Update(part);
  };
  add(mlir);
  add(pjrt::Encode(options));
  // The version of a TPU's platform names libtpu's build, and what a laptop compiled is for another
  // machine's copy of it.
  add(platform.name == "tpu" ? platform.plugin.Build() : platform.plugin.Identity());
  add(platform.version);
  if (platform.name == "cpu") add(Processor());
  return hash.HexDigest();
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
  return KeyOf({client.plugin(), client.platform_name(), client.platform_version()}, mlir, options);
}

std::string CompileCache::Key(const pjrt::Topology& topology, std::string_view mlir,
                              const pjrt::CompileOptions& options) {
  return KeyOf({*topology.plugin(), topology.platform_name(), topology.platform_version()}, mlir,
               options);
}

std::optional<std::string> CompileCache::Load(const std::string& key) const {
  const fs::path path = folder_ / key;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::nullopt;
  try {
    std::string text = ReadFile(path);
    if (text.size() < kDigest || Sha256Hex(std::string_view(text).substr(kDigest)) !=
                                     std::string_view(text).substr(0, kDigest)) {
      return std::nullopt;
    }
    fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
    return text.substr(kDigest);
  } catch (const Error&) {
    return std::nullopt;
  }
}

void CompileCache::Store(const std::string& key, const std::string& serialized) const {
  if (static_cast<int64_t>(kDigest + serialized.size()) > most_bytes_) return;
  try {
    MakeWritableFolder(folder_);
    WriteFile(folder_ / key, Sha256Hex(serialized) + serialized);
  } catch (const Error&) {
    return;
  }
  Evict();
}

CompileCache::Usage CompileCache::CountUsage() const {
  Usage usage;
  for (const Entry& entry : EntriesOf(folder_)) {
    usage.programs += IsComplete(entry) ? 1 : 0;
    usage.bytes += entry.bytes;
  }
  return usage;
}

// Another process may remove the same files meanwhile, and readers keep what they have opened.
void CompileCache::Evict() const {
  const std::vector<Entry> entries = EntriesOf(folder_);
  int64_t bytes = 0;
  for (const Entry& entry : entries) bytes += IsComplete(entry) ? entry.bytes : 0;
  std::error_code ignored;
  for (const Entry& entry : entries) {
    const bool is_surplus = IsComplete(entry) && bytes > most_bytes_;
    if (!is_surplus && !IsStale(entry)) continue;
    fs::remove(entry.path, ignored);
    if (is_surplus) bytes -= entry.bytes;
  }
}

}  // namespace sophia
