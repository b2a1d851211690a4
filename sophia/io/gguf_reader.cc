#include "sophia/io/gguf_reader.h"

#include <array>

namespace sophia::io {
namespace {

constexpr int kMaxArrayDepth = 8;

struct TypeInfo {
  std::string_view name;
  uint64_t min_bytes;  // least bytes an element of an array of this type takes
};

constexpr std::array<TypeInfo, 13> kTypes = {{
    {"u8", 1},
    {"s8", 1},
    {"u16", 2},
    {"s16", 2},
    {"u32", 4},
    {"s32", 4},
    {"f32", 4},
    {"bool", 1},
    {"string", 8},
    {"array", 12},
    {"u64", 8},
    {"s64", 8},
    {"f64", 8},
}};

const TypeInfo& InfoOf(GgufType type) { return kTypes[static_cast<size_t>(type)]; }

}  // namespace

std::string_view Name(GgufType type) { return InfoOf(type).name; }

std::span<const std::byte> GgufReader::Take(uint64_t count, std::string_view what) {
  const uint64_t left = bytes_.size() - position_;
  if (count > left) Fault("expected {} bytes of {}, got the last {}", count, what, left);
  const auto taken = bytes_.subspan(position_, count);
  position_ += count;
  return taken;
}

uint64_t GgufReader::Count(std::string_view what, uint64_t min_bytes) {
  const auto count = Number<uint64_t>(what);
  const uint64_t left = bytes_.size() - position_;
  if (count > left / min_bytes) {
    Fault("expected a {} that fits the {} bytes left, got {}", what, left, count);
  }
  return count;
}

std::string GgufReader::String(std::string_view what) {
  const auto bytes = Take(Count(what, 1), what);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

GgufType GgufReader::Type(std::string_view key) {
  const auto type = Number<uint32_t>(key);
  if (type >= kTypes.size()) {
    Fault("expected '{}' to have a value type of 0 to {}, got {}", key, kTypes.size() - 1, type);
  }
  return static_cast<GgufType>(type);
}

GgufValue GgufReader::Value(std::string_view key) {
  const GgufType type = Type(key);
  return type == GgufType::kArray ? Array(key, 1) : Scalar(type, key);
}

GgufValue GgufReader::Scalar(GgufType type, std::string_view key) {
  GgufValue result{.type = type, .value = {}};
  switch (type) {
    case GgufType::kBool:
      result.value = Number<uint8_t>(key) != 0;
      break;
    case GgufType::kU8:
      result.value = uint64_t{Number<uint8_t>(key)};
      break;
    case GgufType::kU16:
      result.value = uint64_t{Number<uint16_t>(key)};
      break;
    case GgufType::kU32:
      result.value = uint64_t{Number<uint32_t>(key)};
      break;
    case GgufType::kU64:
      result.value = Number<uint64_t>(key);
      break;
    case GgufType::kS8:
      result.value = int64_t{Number<int8_t>(key)};
      break;
    case GgufType::kS16:
      result.value = int64_t{Number<int16_t>(key)};
      break;
    case GgufType::kS32:
      result.value = int64_t{Number<int32_t>(key)};
      break;
    case GgufType::kS64:
      result.value = Number<int64_t>(key);
      break;
    case GgufType::kF32:
      result.value = double{Number<float>(key)};
      break;
    case GgufType::kF64:
      result.value = Number<double>(key);
      break;
    case GgufType::kString:
      result.value = String(key);
      break;
    case GgufType::kArray:
      SOPHIA_CHECK(false, "an array is no scalar");
  }
  return result;
}

template <typename T, typename Wide>
std::vector<Wide> GgufReader::Numbers(uint64_t count, std::string_view key) {
  std::vector<Wide> values;
  values.reserve(count);
  for (uint64_t i = 0; i < count; ++i) values.push_back(static_cast<Wide>(Number<T>(key)));
  return values;
}

GgufValue GgufReader::Array(std::string_view key, int depth) {
  if (depth > kMaxArrayDepth) {
    Fault("expected '{}' to nest at most {} arrays, got more", key, kMaxArrayDepth);
  }
  GgufValue result{.type = GgufType::kArray, .element = Type(key), .value = {}};
  const uint64_t count = Count(key, InfoOf(result.element).min_bytes);
  switch (result.element) {
    case GgufType::kBool:
      result.value = Numbers<uint8_t, bool>(count, key);
      break;
    case GgufType::kU8:
      result.value = Numbers<uint8_t, uint64_t>(count, key);
      break;
    case GgufType::kU16:
      result.value = Numbers<uint16_t, uint64_t>(count, key);
      break;
    case GgufType::kU32:
      result.value = Numbers<uint32_t, uint64_t>(count, key);
      break;
    case GgufType::kU64:
      result.value = Numbers<uint64_t, uint64_t>(count, key);
      break;
    case GgufType::kS8:
      result.value = Numbers<int8_t, int64_t>(count, key);
      break;
    case GgufType::kS16:
      result.value = Numbers<int16_t, int64_t>(count, key);
      break;
    case GgufType::kS32:
      result.value = Numbers<int32_t, int64_t>(count, key);
      break;
    case GgufType::kS64:
      result.value = Numbers<int64_t, int64_t>(count, key);
      break;
    case GgufType::kF32:
      result.value = Numbers<float, double>(count, key);
      break;
    case GgufType::kF64:
      result.value = Numbers<double, double>(count, key);
      break;
    case GgufType::kString: {
      std::vector<std::string> values;
      values.reserve(count);
      for (uint64_t i = 0; i < count; ++i) values.push_back(String(key));
      result.value = std::move(values);
      break;
    }
    case GgufType::kArray: {
      GgufValue::Array values;
      for (uint64_t i = 0; i < count; ++i) values.push_back(Array(key, depth + 1));
      result.value = std::move(values);
      break;
    }
  }
  return result;
}

}  // namespace sophia::io
