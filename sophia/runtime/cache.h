#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "sophia/pjrt/client.h"
#include "sophia/pjrt/compile_options.h"
#include "sophia/pjrt/topology.h"

namespace sophia {

// Compiled programs on disk, one file each, named by a hash of everything they depend on. Damaged
// or foreign files are ignored. Storing one removes those not used for longest, by modification
// time, until the rest takes at most `most_bytes`. Safe for several processes.
class CompileCache {
 public:
  static constexpr int64_t kMostBytes = int64_t{2} << 30;

  explicit CompileCache(std::filesystem::path folder, int64_t most_bytes = kMostBytes)
      : folder_(std::move(folder)), most_bytes_(most_bytes) {}

  // $SOPHIA_CACHE_DIR if set ("" turns caching off), else `cache` beside the running program if
  // that can be written, else $XDG_CACHE_HOME/sophia or ~/.cache/sophia.
  static std::optional<CompileCache> Default();

  // Depends on the program, the options, the plugin's file and version, the platform's version and
  // the processor (a CPU program runs only where its instructions exist). Of a topology: the key
  // for a client of such devices.
  static std::string Key(const pjrt::Client& client, std::string_view mlir,
                         const pjrt::CompileOptions& options);
  static std::string Key(const pjrt::Topology& topology, std::string_view mlir,
                         const pjrt::CompileOptions& options);

  // Counts as a use.
  std::optional<std::string> Load(const std::string& key) const;
  // A program larger than the bound is not kept. Failing to write is not an error: the next run
  // compiles again.
  void Store(const std::string& key, const std::string& serialized) const;

  const std::filesystem::path& folder() const { return folder_; }
  int64_t most_bytes() const { return most_bytes_; }
  struct Usage {
    int64_t programs = 0;
    int64_t bytes = 0;
  };
  Usage CountUsage() const;

 private:
  void Evict() const;

  std::filesystem::path folder_;
  int64_t most_bytes_;
};

}  // namespace sophia
