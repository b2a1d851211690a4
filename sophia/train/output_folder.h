#pragma once

#include <filesystem>
#include <optional>

#include "sophia/base/durable.h"
#include "sophia/train/options.h"

namespace sophia::train {

// A folder that is made, and removed again if nothing came to be written into it.
class NewFolder {
 public:
  // Throws Error when it cannot be made or written to.
  explicit NewFolder(const std::filesystem::path& path);
  ~NewFolder();
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

 private:
  std::filesystem::path path_;
  bool existed_;
};

// A run's output folder, held by one run at a time. It is made before the work starts, so that a
// bad place is known at once.
class OutputFolder {
 public:
  // Throws Error when it cannot be written to, another run writes into it, or it has checkpoints
  // that `options` neither continue nor overwrite.
  explicit OutputFolder(const OutputOptions& options);

  // The checkpoint that the run continues.
  const std::optional<std::filesystem::path>& checkpoint() const { return checkpoint_; }
  // Deletes the checkpoints that are overwritten.
  void Clear() const;

 private:
  OutputOptions options_;
  NewFolder folder_;
  FolderLock lock_;
  std::optional<std::filesystem::path> checkpoint_;
};

}  // namespace sophia::train
