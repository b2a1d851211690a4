#include "sophia/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <sstream>
#include <utility>

#include "sophia/base/error.h"

namespace sophia {
namespace fs = std::filesystem;

namespace {

int OpenToRead(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) Fail(path.string(), "expected a readable file, got: {}", std::strerror(errno));
  return fd;
}

// Closes a descriptor that is of no regular file.
size_t SizeOf(const fs::path& path, int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(fd);
    Fail(path.string(), "expected a regular file, got a folder or device");
  }
  return static_cast<size_t>(status.st_size);
}

}  // namespace

RandomAccessFile::RandomAccessFile(fs::path path)
    : path_(std::move(path)), fd_(OpenToRead(path_)), size_(SizeOf(path_, fd_)) {}

RandomAccessFile::RandomAccessFile(fs::path path, int fd)
    : path_(std::move(path)), fd_(fd), size_(SizeOf(path_, fd_)) {}

RandomAccessFile::~RandomAccessFile() {
  if (fd_ >= 0) close(fd_);
}

RandomAccessFile::RandomAccessFile(RandomAccessFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

RandomAccessFile& RandomAccessFile::operator=(RandomAccessFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

void RandomAccessFile::Read(size_t offset, std::span<char> out) const {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got =
        pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) Fail(path_.string(), "expected a readable file, got: {}", std::strerror(errno));
    if (got == 0) {
      Fail(path_.string(), "expected {} bytes, got {}", offset + out.size(), offset + done);
    }
    done += static_cast<size_t>(got);
  }
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const RandomAccessFile file(path);
  size_ = file.size();
  if (size_ == 0) return;
  void* data = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd(), 0);
  if (data == MAP_FAILED) {
    Fail(path.string(), "expected a mappable file, got: {}", std::strerror(errno));
  }
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::Release(std::span<const std::byte> part) const {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(part.data()) + part.size()) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

std::string ReadFile(const fs::path& path) {
  const RandomAccessFile file(path);
  std::string text(file.size(), '\0');
  file.Read(0, text);
  return text;
}

namespace {

// The file that a path names: links are followed. Throws Error for what cannot be replaced.
fs::path FileToReplace(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_other(status)) {
    Fail(path.string(), "expected the name of a file, got a device, pipe or socket");
  }
  constexpr int kMostLinks = 40;
  fs::path target = path;
  for (int i = 0; i < kMostLinks && fs::is_symlink(fs::symlink_status(target, error)); ++i) {
    target = target.parent_path() / fs::read_symlink(target, error);
  }
  return target;
}

// Names of the temporary files that exist, for the signal handler; more than these stay.
std::array<std::atomic<const char*>, 64> temporaries;

void Register(const char* name) {
  for (std::atomic<const char*>& place : temporaries) {
    const char* empty = nullptr;
    if (place.compare_exchange_strong(empty, name)) return;
  }
}

void Unregister(const char* name) {
  for (std::atomic<const char*>& place : temporaries) {
    const char* expected = name;
    if (place.compare_exchange_strong(expected, nullptr)) return;
  }
}

void RemoveTemporariesAndEnd(int signal_number) {
  for (const std::atomic<const char*>& place : temporaries) {
    if (const char* name = place.load()) unlink(name);
  }
  std::signal(signal_number, SIG_DFL);
  raise(signal_number);
}

}  // namespace

void RemoveTemporariesOnSignals() {
  for (const int number : {SIGINT, SIGTERM}) {
    const auto before = std::signal(number, RemoveTemporariesAndEnd);
    if (before == SIG_IGN) std::signal(number, SIG_IGN);
  }
}

AtomicFile::AtomicFile(const fs::path& path)
    : path_(FileToReplace(path)), temporary_(path_.string() + fmt::format(".{}.tmp", getpid())) {
  Register(temporary_.c_str());  // first: a signal may come as soon as the file is there
  stream_.open(temporary_, std::ios::binary | std::ios::trunc);
  if (!stream_) {
    Unregister(temporary_.c_str());
    Fail(path_.string(), "expected a writable place, got: {}", std::strerror(errno));
  }
}

AtomicFile::~AtomicFile() {
  Unregister(temporary_.c_str());
  if (committed_) return;
  stream_.close();
  std::error_code ignored;
  fs::remove(temporary_, ignored);
}

void AtomicFile::Write(std::string_view text) {
  if (!stream_) return;
  errno = 0;
  if (!stream_.write(text.data(), static_cast<std::streamsize>(text.size()))) error_ = errno;
}

void AtomicFile::Write(std::span<const std::byte> bytes) {
  Write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::Close() {
  if (stream_.is_open() && stream_) {
    errno = 0;
    stream_.close();
    if (!stream_) error_ = errno;
  }
  if (!stream_) {
    Fail(path_.string(), "expected to write the whole file, got: {}",
         error_ != 0 ? std::strerror(error_) : "an error without a reason");
  }
}

void AtomicFile::Commit() {
  Close();
  std::error_code error;
  fs::rename(temporary_, path_, error);
  if (error) Fail(path_.string(), "expected to rename into place, got: {}", error.message());
  committed_ = true;
}

void WriteFile(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.Write(text);
  file.Commit();
}

void MakeWritableFolder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error || !fs::is_directory(path)) {
    Fail(path.string(), "expected a folder that can be created, got: {}",
         error ? error.message() : "not a folder");
  }
  if (access(path.c_str(), W_OK) != 0) {
    Fail(path.string(), "expected a writable folder, got: {}", std::strerror(errno));
  }
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (fs::temp_directory_path() / "sophia-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) {
    Fail(pattern, "expected a writable temporary folder, got: {}", std::strerror(errno));
  }
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace sophia
