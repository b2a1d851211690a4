#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "sophia/base/error.h"

namespace sophia {

// Reads protobuf's wire format: https://protobuf.dev/programming-guides/encoding/. Throws Error for
// bytes that end early or have groups.
class ProtoReader {
 public:
  struct Field {
    int number = 0;
    uint64_t value = 0;      // varints and fixed-size numbers, as bits
    std::string_view bytes;  // strings, bytes, messages and packed numbers
  };

  explicit ProtoReader(std::string_view bytes) : rest_(bytes) {}

  // The next field, nullopt at the end.
  std::optional<Field> Next() {
    if (rest_.empty()) return std::nullopt;
    const uint64_t tag = Varint();
    Field field{.number = static_cast<int>(tag >> 3)};
    switch (tag & 7) {
      case 0:
        field.value = Varint();
        break;
      case 1:
        field.value = Fixed(8);
        break;
      case 2:
        field.bytes = Take(Varint());
        break;
      case 5:
        field.value = Fixed(4);
        break;
      default:
        Fail("protobuf", "expected wire type 0, 1, 2 or 5, got {}", tag & 7);
    }
    return field;
  }

  // The varints of a repeated field, packed or one of many.
  static std::vector<uint64_t> Varints(const Field& field) {
    if (field.bytes.empty()) return {field.value};
    std::vector<uint64_t> values;
    for (ProtoReader reader(field.bytes); !reader.rest_.empty();) values.push_back(reader.Varint());
    return values;
  }

 private:
  std::string_view Take(uint64_t size) {
    if (size > rest_.size()) Fail("protobuf", "expected {} bytes more, got {}", size, rest_.size());
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  uint64_t Fixed(size_t size) {
    uint64_t value = 0;
    const std::string_view bytes = Take(size);
    for (size_t i = 0; i < size; ++i)
      value |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    return value;
  }
  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(Take(1)[0]);
      value |= uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
    Fail("protobuf", "expected a number of 64 bits, got more");
  }

  std::string_view rest_;
};

}  // namespace sophia
