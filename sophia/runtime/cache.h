#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "sophia/pjrt/client.h"
#include "sophia/pjrt/compile_options.h"

namespace sophia {

// Compiled programs on disk, one file each, named by a hash of everything they depend on. Damaged
// or foreign files are ignored. Safe for several processes.
class CompileCache {
 public:
  explicit CompileCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // $SOPHIA_CACHE_DIR if set ("" turns caching off), else `cache` beside the running program if
  // that can be written, else $XDG_CACHE_HOME/sophia or ~/.cache/sophia.
  static std::optional<CompileCache> Default();

  // Depends on the program, the options, the plugin's file and version, the platform's version and
  // the processor (a CPU program runs only where its instructions exist).
  static std::string Key(const pjrt::Client& client, std::string_view mlir,
                         const pjrt::CompileOptions& options);

  std::optional<std::string> Load(const std::string& key) const;
  // Failing to write is not an error: the next run compiles again.
  void Store(const std::string& key, const std::string& serialized) const;

  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
};

}  // namespace sophia
