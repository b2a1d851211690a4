#include "sophia/base/unnamed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "sophia/base/error.h"

namespace sophia {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPiece = size_t{1} << 20;

}  // namespace

UnnamedFile::UnnamedFile(std::string purpose) : purpose_(std::move(purpose)) {
  std::error_code error;
  folder_ = fs::temp_directory_path(error);
  if (error) Fail(purpose_, "expected a temporary folder (TMPDIR), got: {}", error.message());
  std::string name = (folder_ / "sophia-XXXXXX").string();
  fd_ = mkostemp(name.data(), O_CLOEXEC);
  if (fd_ < 0) {
    Fail(purpose_, "expected a writable temporary folder (TMPDIR), got {}: {}", folder_.string(),
         std::strerror(errno));
  }
  unlink(name.c_str());
}

UnnamedFile::~UnnamedFile() {
  if (fd_ >= 0) close(fd_);
}

void UnnamedFile::Append(std::string_view text) {
  pending_ += text;
  size_ += text.size();
  if (pending_.size() >= kPiece) Flush();
}

void UnnamedFile::Flush() {
  size_t done = 0;
  while (done < pending_.size()) {
    const ssize_t written = write(fd_, pending_.data() + done, pending_.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      Fail(purpose_,
           "expected room for {} bytes and more in {} (TMPDIR names another folder), got: {}",
           size_, folder_.string(), std::strerror(errno));
    }
    done += static_cast<size_t>(written);
  }
  pending_.clear();
}

RandomAccessFile UnnamedFile::Finish() {
  Flush();
  return {purpose_, std::exchange(fd_, -1)};
}

}  // namespace sophia
