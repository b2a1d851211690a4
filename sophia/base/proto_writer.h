#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace sophia {

// Writes protobuf's wire format: https://protobuf.dev/programming-guides/encoding/.
class ProtoWriter {
 public:
  void Varint(int field, uint64_t value) {
    Tag(field, 0);
    Raw(value);
  }
  // Type int32 or int64; a negative value takes ten bytes.
  void Int(int field, int64_t value) { Varint(field, static_cast<uint64_t>(value)); }
  void Bool(int field, bool value) { Varint(field, value ? 1 : 0); }
  void Double(int field, double value) {
    Tag(field, 1);
    Fixed(std::bit_cast<uint64_t>(value), 8);
  }
  void Float(int field, float value) {
    Tag(field, 5);
    Fixed(std::bit_cast<uint32_t>(value), 4);
  }
  // A string, bytes or an encoded message.
  void Bytes(int field, std::string_view value) {
    Tag(field, 2);
    Raw(value.size());
    bytes_ += value;
  }
  void Message(int field, const ProtoWriter& message) { Bytes(field, message.bytes_); }

  const std::string& bytes() const { return bytes_; }

 private:
  void Tag(int field, int wire_type) { Raw(static_cast<uint64_t>(field) << 3 | wire_type); }
  void Fixed(uint64_t bits, int bytes) {
    for (int i = 0; i < bytes; ++i) bytes_ += static_cast<char>(bits >> (8 * i) & 0xff);
  }
  void Raw(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7f) | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

}  // namespace sophia
