#include "sophia/base/dtype.h"

#include <array>
#include <utility>

#include "sophia/base/error.h"

namespace sophia {
namespace {

using enum DTypeKind;

constexpr std::array<DTypeInfo, 17> kInfos = {{
    {DType::kBool, "bool", "i1", "BOOL", 8, kBool},
    {DType::kS4, "s4", "i4", "", 4, kSigned},
    {DType::kU4, "u4", "ui4", "", 4, kUnsigned},
    {DType::kS8, "s8", "i8", "I8", 8, kSigned},
    {DType::kU8, "u8", "ui8", "U8", 8, kUnsigned},
    {DType::kS16, "s16", "i16", "I16", 16, kSigned},
    {DType::kU16, "u16", "ui16", "U16", 16, kUnsigned},
    {DType::kS32, "s32", "i32", "I32", 32, kSigned},
    {DType::kU32, "u32", "ui32", "U32", 32, kUnsigned},
    {DType::kS64, "s64", "i64", "I64", 64, kSigned},
    {DType::kU64, "u64", "ui64", "U64", 64, kUnsigned},
    {DType::kF8E4M3FN, "f8e4m3fn", "f8E4M3FN", "F8_E4M3", 8, kFloat},
    {DType::kF8E5M2, "f8e5m2", "f8E5M2", "F8_E5M2", 8, kFloat},
    {DType::kBF16, "bf16", "bf16", "BF16", 16, kFloat},
    {DType::kF16, "f16", "f16", "F16", 16, kFloat},
    {DType::kF32, "f32", "f32", "F32", 32, kFloat},
    {DType::kF64, "f64", "f64", "F64", 64, kFloat},
}};

constexpr std::array<std::pair<std::string_view, DType>, 14> kLongNames = {{
    {"int4", DType::kS4},
    {"uint4", DType::kU4},
    {"int8", DType::kS8},
    {"uint8", DType::kU8},
    {"int16", DType::kS16},
    {"uint16", DType::kU16},
    {"int32", DType::kS32},
    {"uint32", DType::kU32},
    {"int64", DType::kS64},
    {"uint64", DType::kU64},
    {"bfloat16", DType::kBF16},
    {"float16", DType::kF16},
    {"float32", DType::kF32},
    {"float64", DType::kF64},
}};

constexpr bool RowsFollowTheEnum() {
  for (size_t i = 0; i < kInfos.size(); ++i) {
    if (static_cast<size_t>(kInfos[i].dtype) != i) return false;
  }
  return true;
}
static_assert(RowsFollowTheEnum());

}  // namespace

const DTypeInfo& Info(DType dtype) {
  const auto index = static_cast<size_t>(dtype);
  SOPHIA_CHECK(index < kInfos.size());
  return kInfos[index];
}

int64_t ByteSize(DType dtype, int64_t elements) { return (elements * Info(dtype).bits + 7) / 8; }

std::optional<DType> DTypeFromName(std::string_view name) {
  for (const DTypeInfo& info : kInfos) {
    if (info.name == name) return info.dtype;
  }
  for (const auto& [long_name, dtype] : kLongNames) {
    if (long_name == name) return dtype;
  }
  return std::nullopt;
}

std::optional<DType> DTypeFromSafetensors(std::string_view name) {
  if (name.empty()) return std::nullopt;
  for (const DTypeInfo& info : kInfos) {
    if (info.safetensors == name) return info.dtype;
  }
  return std::nullopt;
}

}  // namespace sophia
