#pragma once

#include <filesystem>

namespace sophia {

// Returns once a file's bytes, or a folder's entries, are on the disk (fsync). Throws Error when
// the disk refuses.
void SyncToDisk(const std::filesystem::path& path);

// Keeps a folder for this process: a second lock on it, of any process, throws Error. The system
// releases it when the process ends, however that happens. Without effect where the file system has
// no locks.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_;
};

}  // namespace sophia
