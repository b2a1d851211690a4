#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace sophia {

// A file whose bytes are read where they are asked for, by several threads if need be. Throws Error
// when it is missing or no regular file.
class RandomAccessFile {
 public:
  explicit RandomAccessFile(std::filesystem::path path);
  // Takes over an open descriptor; `path` is what errors call it.
  RandomAccessFile(std::filesystem::path path, int fd);
  ~RandomAccessFile();
  RandomAccessFile(RandomAccessFile&& other) noexcept;
  RandomAccessFile& operator=(RandomAccessFile&& other) noexcept;
  RandomAccessFile(const RandomAccessFile&) = delete;
  RandomAccessFile& operator=(const RandomAccessFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  int fd() const { return fd_; }
  size_t size() const { return size_; }

  // Fills `out` from `offset` on. Throws Error when the file ends before or cannot be read.
  void Read(size_t offset, std::span<char> out) const;

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  size_t size_ = 0;
};

// A file mapped read-only into memory. Throws Error when it is missing or cannot be read.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Tells the kernel that the pages of `part` (a piece of bytes()) are not needed again, so that
  // they stop counting as resident memory. They stay readable.
  void Release(std::span<const std::byte> part) const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Reads a whole file. Throws Error when it is missing or cannot be read.
std::string ReadFile(const std::filesystem::path& path);

// Writes to a temporary name beside `path`, or the file that this links to; Commit() renames it
// into place. Without Commit() the temporary file is removed, so readers never see a half-written
// file. Throws Error for a device, a pipe or a socket of that name.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void Write(std::string_view text);
  void Write(std::span<const std::byte> bytes);
  // Ends the temporary file. Throws Error when a write failed, as on a full disk.
  void Close();
  // Close(), if that is not done, and the renaming. Throws Error too.
  void Commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::ofstream stream_;
  int error_ = 0;  // errno of the first write that failed
  bool committed_ = false;
};

// From now on SIGINT and SIGTERM, unless they are ignored, remove the temporary files of this
// process before they end it.
void RemoveTemporariesOnSignals();

// One-call form of AtomicFile.
void WriteFile(const std::filesystem::path& path, std::string_view text);

// Creates a folder and its parents; throws Error when it cannot be created or written to.
void MakeWritableFolder(const std::filesystem::path& path);

// A folder of a fresh name under the system's temporary folder, removed with its content at the
// end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace sophia
