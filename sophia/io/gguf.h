#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "sophia/io/tensor_source.h"

namespace sophia::io {

// Types of metadata values, with GGUF's ids.
enum class GgufType : uint32_t {
  kU8 = 0,
  kS8 = 1,
  kU16 = 2,
  kS16 = 3,
  kU32 = 4,
  kS32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kS64 = 11,
  kF64 = 12,
};

std::string_view Name(GgufType type);

// One metadata value. Numbers are held in the widest type of their kind; an array of scalars is a
// vector of it, an array of arrays a vector of values.
struct GgufValue {
  using Array = std::vector<GgufValue>;
  GgufType type = GgufType::kBool;     // kArray for every array
  GgufType element = GgufType::kBool;  // element type of an array
  std::variant<bool, uint64_t, int64_t, double, std::string, std::vector<bool>,
               std::vector<uint64_t>, std::vector<int64_t>, std::vector<double>,
               std::vector<std::string>, Array>
      value;
};

struct GgufEntry {
  std::string key;
  GgufValue value;
};

// Typed keys of a GGUF file, in file order.
class GgufMetadata {
 public:
  explicit GgufMetadata(std::string where) : where_(std::move(where)) {}

  const std::vector<GgufEntry>& entries() const { return entries_; }
  // nullptr when the key is absent.
  const GgufValue* Find(std::string_view key) const;

  // T is bool, int64_t, double, std::string or a vector of one of them. Integers of any width are
  // accepted for int64_t when they fit, and any number for double. Find gives nullopt when the key
  // is absent, and Error naming file, key and both types when it has another type.
  template <typename T>
  std::optional<T> Find(std::string_view key) const;
  // As Find, but an absent key is an Error.
  template <typename T>
  T Require(std::string_view key) const;
  template <typename T>
  T FindOr(std::string_view key, T fallback) const {
    return Find<T>(key).value_or(std::move(fallback));
  }

  // Throws Error when the key is taken.
  void Add(std::string key, GgufValue value);

 private:
  std::string where_;
  std::vector<GgufEntry> entries_;
  std::unordered_map<std::string, size_t> index_;
};

// A GGUF file, versions 2 and 3, little-endian:
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
// Shapes are row-major, the reverse of the file's order. Tensor names and the row order of
// attention weights are the file's own.
class GgufFile : public TensorSource {
 public:
  // Throws Error when the file is missing, broken or holds a tensor type this library cannot read.
  explicit GgufFile(const std::filesystem::path& path);

  uint32_t version() const { return version_; }
  const GgufMetadata& metadata() const { return metadata_; }

 private:
  uint32_t version_ = 0;
  GgufMetadata metadata_;
};

}  // namespace sophia::io
