#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/base/error_for_test.h"
#include "sophia/io/fuzz_for_test.h"
#include "sophia/io/tensor_source.h"

namespace sophia::io {

inline std::filesystem::path WeightFixture(std::string_view name) {
  return std::filesystem::path(SOPHIA_SOURCE_DIR) / "tests" / "fixtures" / "weights" / name;
}

// All elements of a tensor as C++ values of type T, which stands for `as` in memory.
template <typename T>
std::vector<T> ReadAll(const TensorSource& source, std::string_view name, DType as) {
  std::vector<T> values(static_cast<size_t>(source.Get(name).shape.elements()));
  source.Read(name, as, std::as_writable_bytes(std::span(values)));
  return values;
}

// The bytes of a little-endian number.
template <typename T>
std::string Bytes(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

// A file that lives in memory only: parsers open it by path, and rewriting it touches no disk.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : fd_(memfd_create("sophia-test", MFD_CLOEXEC)) {
    SOPHIA_CHECK(fd_ >= 0 &&
                 write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::filesystem::path path() const { return fmt::format("/proc/self/fd/{}", fd_); }

 private:
  int fd_;
};

// The message of the Error that opening `bytes` as a file of its own gives, or "no error".
template <typename File>
std::string ErrorOf(const std::string& bytes) {
  const MemoryFile memory(bytes);
  return MessageOf([&] { const File file(memory.path()); });
}

// Opens mutants of `valid` files and reads every tensor of those that open.
template <typename File>
void FuzzTensorFile(const std::vector<std::string>& valid, const Mutator& mutator) {
  const FuzzCounts counts = FuzzParser(valid, 8000, mutator, [](const std::string& bytes) {
    const MemoryFile memory(bytes);
    const File file(memory.path());
    for (const TensorInfo& info : file.tensors()) {
      std::vector<std::byte> out(static_cast<size_t>(info.shape.bytes()));
      file.Read(info.name, info.shape.dtype, std::span(out));
    }
  });
  EXPECT_GT(counts.rejected, 1000);
  EXPECT_GT(counts.accepted, 100);
}

}  // namespace sophia::io
