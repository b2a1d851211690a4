#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sophia/base/file.h"
#include "sophia/base/shape.h"

namespace sophia::io {

// How a file stores elements: in blocks of `block_elements` that take `block_bytes` each. Plain
// types have one element a block and no `dequantize`. A type that cannot be read is listed alone.
struct Storage {
  std::string_view name;  // as the format's documentation writes it: "BF16", "Q4_K"
  DType dtype;            // element type a reader sees: f32 for quantised storage, u8 if unreadable
  int64_t block_elements = 1;
  int64_t block_bytes = 1;
  void (*dequantize)(const std::byte* blocks, int64_t count, float* out) = nullptr;
  bool readable = true;
};

struct TensorInfo {
  std::string name;     // as in the file
  Shape shape;          // logical, row-major
  std::string storage;  // Storage::name
  int64_t stored_bytes = 0;
};

// Named tensors in memory-mapped files, whatever their format. Reads are const, may run on several
// threads at once, and release the pages they have passed, so that resident memory stays small.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  TensorSource(const TensorSource&) = delete;
  TensorSource& operator=(const TensorSource&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // In the order of the files and of their data.
  const std::vector<TensorInfo>& tensors() const { return infos_; }

  // nullptr when there is no such tensor.
  const TensorInfo* Find(std::string_view name) const;
  // Throws Error, with the nearest name, when there is no such tensor.
  const TensorInfo& Get(std::string_view name) const;

  // Writes all elements, converted to `as` (see CanConvert), into `out` of exactly that size.
  // Throws Error when the type is not readable, the conversion does not exist or a value does not
  // fit.
  void Read(std::string_view name, DType as, std::span<std::byte> out) const;
  // As Read, for `count` rows of the outermost dimension from row `first`.
  void ReadRows(std::string_view name, int64_t first, int64_t count, DType as,
                std::span<std::byte> out) const;
  template <typename T>
  void Read(std::string_view name, DType as, std::span<T> out) const {
    Read(name, as, std::as_writable_bytes(out));
  }

  // The bytes as they lie in the file, valid as long as this object; Release() drops their pages.
  std::span<const std::byte> Stored(std::string_view name) const;
  void Release(std::string_view name) const;

 protected:
  explicit TensorSource(std::filesystem::path path) : path_(std::move(path)) {}

  // Keeps `file` mapped as long as this object and returns a reference that stays valid.
  const MappedFile& Keep(MappedFile file);
  // Adds one tensor that lies at `bytes` of `file`. Throws Error when its name is taken.
  void Add(std::string name, Dims dims, const Storage& storage, const MappedFile& file,
           std::span<const std::byte> bytes);

 private:
  struct Place {
    Storage storage;
    const MappedFile* file;
    std::span<const std::byte> bytes;
  };
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  size_t IndexOf(std::string_view name) const;
  void ReadElements(size_t index, int64_t first, int64_t count, DType as,
                    std::span<std::byte> out) const;

  std::filesystem::path path_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  std::vector<TensorInfo> infos_;
  std::vector<Place> places_;
  std::unordered_map<std::string, size_t, Hash, std::equal_to<>> index_;
};

// Checks that `dims` of `storage` are whole blocks and returns the bytes they take. Throws Error
// naming `where` when they are not or when the size does not fit 63 bits.
int64_t StoredBytes(const Storage& storage, const Dims& dims, std::string_view where);

// Opens a .gguf file, a .safetensors file or a folder of safetensors, told apart by content.
std::unique_ptr<TensorSource> OpenTensors(const std::filesystem::path& path);

}  // namespace sophia::io
