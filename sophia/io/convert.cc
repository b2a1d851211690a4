#include "sophia/io/convert.h"

#include <array>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/base/float_bits.h"

namespace sophia::io {
namespace {

template <typename T>
T Load(const std::byte* source, int64_t index) {
  T value;
  std::memcpy(&value, source + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

template <typename T>
void Store(std::byte* target, int64_t index, T value) {
  std::memcpy(target + index * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
}

template <float (*kWiden)(uint8_t)>
const std::array<float, 256>& Table() {
  static const std::array<float, 256> kTable = [] {
    std::array<float, 256> values{};
    for (size_t i = 0; i < values.size(); ++i) values[i] = kWiden(static_cast<uint8_t>(i));
    return values;
  }();
  return kTable;
}

// Each source format: its bits in memory and how they become a float.
struct FromF8E4M3FN {
  using Bits = uint8_t;
  const std::array<float, 256>& table = Table<F8E4M3FNToFloat>();
  float operator()(Bits bits) const { return table[bits]; }
};
struct FromF8E5M2 {
  using Bits = uint8_t;
  const std::array<float, 256>& table = Table<F8E5M2ToFloat>();
  float operator()(Bits bits) const { return table[bits]; }
};
struct FromBf16 {
  using Bits = uint16_t;
  float operator()(Bits bits) const { return Bf16ToFloat(bits); }
};
struct FromF16 {
  using Bits = uint16_t;
  float operator()(Bits bits) const { return F16ToFloat(bits); }
};
struct FromF32 {
  using Bits = float;
  float operator()(Bits value) const { return value; }
};
struct FromF64 {
  using Bits = double;
  float operator()(Bits value) const { return static_cast<float>(value); }
};

struct ToF32 {
  float operator()(float value) const { return value; }
};
struct ToBf16 {
  uint16_t operator()(float value) const { return FloatToBf16(value); }
};
struct ToF16 {
  uint16_t operator()(float value) const { return FloatToF16(value); }
};

template <typename From, typename To>
void ConvertFloats(const std::byte* source, int64_t count, std::byte* target) {
  const From from;
  const To to;
  for (int64_t i = 0; i < count; ++i) {
    Store(target, i, to(from(Load<typename From::Bits>(source, i))));
  }
}

template <typename From>
void FloatsTo(DType to, const std::byte* source, int64_t count, std::byte* target) {
  switch (to) {
    case DType::kF32:
      return ConvertFloats<From, ToF32>(source, count, target);
    case DType::kBF16:
      return ConvertFloats<From, ToBf16>(source, count, target);
    case DType::kF16:
      return ConvertFloats<From, ToF16>(source, count, target);
    default:
      SOPHIA_CHECK(false, "no conversion to {}", Name(to));
  }
}

template <typename From, typename To>
void ConvertIntegers(const std::byte* source, int64_t count, std::byte* target,
                     std::string_view where) {
  for (int64_t i = 0; i < count; ++i) {
    const From value = Load<From>(source, i);
    if (!std::in_range<To>(value)) {
      Fail(where, "expected values of element type s{}, got {}", 8 * sizeof(To), value);
    }
    Store(target, i, static_cast<To>(value));
  }
}

template <typename From>
void IntegersTo(DType to, const std::byte* source, int64_t count, std::byte* target,
                std::string_view where) {
  if (to == DType::kS32) return ConvertIntegers<From, int32_t>(source, count, target, where);
  SOPHIA_CHECK(to == DType::kS64, "no conversion to {}", Name(to));
  ConvertIntegers<From, int64_t>(source, count, target, where);
}

}  // namespace

bool CanConvert(DType from, DType to) {
  if (from == to) return true;
  if (IsFloat(from)) return to == DType::kF32 || to == DType::kBF16 || to == DType::kF16;
  return Info(from).bits >= 8 && (to == DType::kS32 || to == DType::kS64);
}

void ConvertElements(DType from, const std::byte* source, int64_t count, DType to,
                     std::byte* target, std::string_view where) {
  SOPHIA_CHECK(CanConvert(from, to), "no conversion from {} to {}", Name(from), Name(to));
  if (from == to) {
    if (count > 0) std::memcpy(target, source, static_cast<size_t>(ByteSize(from, count)));
    return;
  }
  switch (from) {
    case DType::kF8E4M3FN:
      return FloatsTo<FromF8E4M3FN>(to, source, count, target);
    case DType::kF8E5M2:
      return FloatsTo<FromF8E5M2>(to, source, count, target);
    case DType::kBF16:
      return FloatsTo<FromBf16>(to, source, count, target);
    case DType::kF16:
      return FloatsTo<FromF16>(to, source, count, target);
    case DType::kF32:
      return FloatsTo<FromF32>(to, source, count, target);
    case DType::kF64:
      return FloatsTo<FromF64>(to, source, count, target);
    case DType::kBool:
    case DType::kU8:
      return IntegersTo<uint8_t>(to, source, count, target, where);
    case DType::kS8:
      return IntegersTo<int8_t>(to, source, count, target, where);
    case DType::kS16:
      return IntegersTo<int16_t>(to, source, count, target, where);
    case DType::kU16:
      return IntegersTo<uint16_t>(to, source, count, target, where);
    case DType::kS32:
      return IntegersTo<int32_t>(to, source, count, target, where);
    case DType::kU32:
      return IntegersTo<uint32_t>(to, source, count, target, where);
    case DType::kS64:
      return IntegersTo<int64_t>(to, source, count, target, where);
    case DType::kU64:
      return IntegersTo<uint64_t>(to, source, count, target, where);
    case DType::kS4:
    case DType::kU4:
      SOPHIA_CHECK(false, "4-bit integers are not converted");
  }
}

}  // namespace sophia::io
