#include "sophia/base/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "sophia/base/error.h"

namespace sophia {

AppendFile::AppendFile(std::filesystem::path path, bool must_be_new)
    : path_(std::move(path)),
      fd_(open(path_.c_str(),
               O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (must_be_new ? O_EXCL : 0), 0666)) {
  if (fd_ < 0) {
    Fail(path_.string(), "expected a file that can be written, got: {}", std::strerror(errno));
  }
}

AppendFile::~AppendFile() { close(fd_); }

bool AppendFile::Append(std::string_view bytes) {
  pending_ += bytes;
  return Flush();
}

bool AppendFile::Flush() {
  while (!pending_.empty()) {
    const ssize_t count = write(fd_, pending_.data(), pending_.size());
    if (count < 0 && errno == EINTR) continue;
    error_ = count < 0 ? errno : 0;
    if (count <= 0) return false;
    pending_.erase(0, static_cast<size_t>(count));
  }
  return true;
}

void AppendFile::Finish() {
  if (Flush()) return;
  Fail(path_.string(), "expected to write all of it, got: {}", std::strerror(error_));
}

}  // namespace sophia
