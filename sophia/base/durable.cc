#include "sophia/base/durable.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sophia/base/error.h"

namespace sophia {
namespace fs = std::filesystem;

void SyncToDisk(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) Fail(path.string(), "expected to open it for syncing, got: {}", std::strerror(errno));
  // Some file systems cannot sync a folder and say EINVAL.
  const int error = fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
  close(fd);
  if (error != 0) {
    Fail(path.string(), "expected to reach the disk, got: {}", std::strerror(error));
  }
}

FolderLock::FolderLock(const fs::path& folder)
    : fd_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (fd_ < 0 || flock(fd_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  close(fd_);
  Fail(folder.string(), "expected a folder that no other run writes into, got one in use");
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace sophia
