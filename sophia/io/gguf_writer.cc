#include "sophia/io/gguf_writer.h"

#include <cstring>
#include <type_traits>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/io/gguf_blocks.h"

namespace sophia::io {
namespace {

constexpr int64_t kAlignment = 32;

template <typename T>
void Put(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    out.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i)));
  }
}

void PutText(std::string& out, std::string_view text) {
  Put(out, uint64_t{text.size()});
  out += text;
}

template <typename T>
void PutBits(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

// One number, flag or text of type `type`.
template <typename T>
void PutScalar(std::string& out, GgufType type, const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    PutText(out, value);
  } else if constexpr (std::is_floating_point_v<T>) {
    type == GgufType::kF64 ? PutBits(out, value) : PutBits(out, static_cast<float>(value));
  } else if constexpr (std::is_same_v<T, GgufValue>) {
    SOPHIA_CHECK(false, "arrays of arrays are not written");
  } else {
    switch (type) {
      case GgufType::kU8:
      case GgufType::kS8:
      case GgufType::kBool:
        return Put(out, static_cast<uint8_t>(value));
      case GgufType::kU16:
      case GgufType::kS16:
        return Put(out, static_cast<uint16_t>(value));
      case GgufType::kU32:
      case GgufType::kS32:
        return Put(out, static_cast<uint32_t>(value));
      default:
        return Put(out, static_cast<uint64_t>(value));
    }
  }
}

void PutValue(std::string& out, const GgufValue& value) {
  Put(out, static_cast<uint32_t>(value.type));
  std::visit(
      [&]<typename Held>(const Held& held) {
        if constexpr (requires { typename Held::value_type; } &&
                      !std::is_same_v<Held, std::string>) {
          Put(out, static_cast<uint32_t>(value.element));
          Put(out, uint64_t{held.size()});
          for (const typename Held::value_type& item : held) {
            PutScalar<typename Held::value_type>(out, value.element, item);
          }
        } else {
          PutScalar(out, value.type, held);
        }
      },
      value.value);
}

int64_t Padding(int64_t bytes) { return (kAlignment - bytes % kAlignment) % kAlignment; }

GgufValue ArrayOf(GgufType element, auto values) {
  return {.type = GgufType::kArray, .element = element, .value = std::move(values)};
}

}  // namespace

GgufValue GgufText(std::string text) {
  return {.type = GgufType::kString, .value = std::move(text)};
}
GgufValue GgufCount(uint64_t value) { return {.type = GgufType::kU32, .value = value}; }
GgufValue GgufNumber(double value) { return {.type = GgufType::kF32, .value = value}; }
GgufValue GgufFlag(bool value) { return {.type = GgufType::kBool, .value = value}; }
GgufValue GgufTexts(std::vector<std::string> texts) {
  return ArrayOf(GgufType::kString, std::move(texts));
}
GgufValue GgufIntegers(std::vector<int64_t> values) {
  return ArrayOf(GgufType::kS32, std::move(values));
}
GgufValue GgufNumbers(std::vector<double> values) {
  return ArrayOf(GgufType::kF32, std::move(values));
}

GgufWriter::GgufWriter(const std::filesystem::path& path, const std::vector<GgufEntry>& metadata,
                       std::vector<GgufTensor> tensors)
    : tensors_(std::move(tensors)), file_(path) {
  std::string head = "GGUF";
  Put(head, uint32_t{3});
  Put(head, uint64_t{tensors_.size()});
  Put(head, uint64_t{metadata.size()});
  for (const GgufEntry& entry : metadata) {
    PutText(head, entry.key);
    PutValue(head, entry.value);
  }
  int64_t offset = 0;
  for (const GgufTensor& tensor : tensors_) {
    const uint32_t type = GgufTypeOf(tensor.storage).value();
    PutText(head, tensor.name);
    Put(head, static_cast<uint32_t>(tensor.dims.size()));
    for (auto dim = tensor.dims.rbegin(); dim != tensor.dims.rend(); ++dim) {
      Put(head, static_cast<uint64_t>(*dim));
    }
    Put(head, type);
    Put(head, static_cast<uint64_t>(offset));
    bytes_.push_back(StoredBytes(GgufStorage(type).value(), tensor.dims, tensor.name));
    offset += bytes_.back() + Padding(bytes_.back());
  }
  head.append(static_cast<size_t>(Padding(static_cast<int64_t>(head.size()))), '\0');
  file_.Write(head);
}

void GgufWriter::Append(std::span<const std::byte> bytes) {
  SOPHIA_CHECK(next_ < tensors_.size() && static_cast<int64_t>(bytes.size()) == bytes_[next_],
               "{} bytes for tensor {}", bytes.size(), next_);
  file_.Write(bytes);
  file_.Write(std::string(static_cast<size_t>(Padding(bytes_[next_])), '\0'));
  ++next_;
}

void GgufWriter::Commit() {
  SOPHIA_CHECK(next_ == tensors_.size(), "{} tensors are missing", tensors_.size() - next_);
  file_.Commit();
}

}  // namespace sophia::io
