#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/io/gguf.h"

namespace sophia::io {

// Reads the values of a GGUF header one after another and throws Error, with the place, where the
// bytes end early or a length exceeds what is left.
class GgufReader {
 public:
  GgufReader(std::span<const std::byte> bytes, std::string where)
      : bytes_(bytes), where_(std::move(where)) {}

  const std::string& where() const { return where_; }
  uint64_t position() const { return position_; }

  template <typename T>
  T Number(std::string_view what) {
    T value;
    std::memcpy(&value, Take(sizeof(T), what).data(), sizeof(T));
    return value;
  }
  // A number of things that each take at least `min_bytes` of what is left.
  uint64_t Count(std::string_view what, uint64_t min_bytes);
  std::string String(std::string_view what);
  // A type id and the value after it.
  GgufValue Value(std::string_view key);

  template <typename... Args>
  [[noreturn]] void Fault(fmt::format_string<Args...> format, Args&&... args) const {
    Fail(fmt::format("{}: byte {}", where_, position_), format, std::forward<Args>(args)...);
  }

 private:
  std::span<const std::byte> Take(uint64_t count, std::string_view what);
  GgufType Type(std::string_view key);
  GgufValue Scalar(GgufType type, std::string_view key);
  GgufValue Array(std::string_view key, int depth);
  template <typename T, typename Wide>
  std::vector<Wide> Numbers(uint64_t count, std::string_view key);

  std::span<const std::byte> bytes_;
  std::string where_;
  uint64_t position_ = 0;
};

}  // namespace sophia::io
