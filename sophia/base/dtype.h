#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sophia {

// Element types of tensors, named as in StableHLO without the 'i'/'si' difference: s = signed,
// u = unsigned.
enum class DType : uint8_t {
  kBool,
  kS4,
  kU4,
  kS8,
  kU8,
  kS16,
  kU16,
  kS32,
  kU32,
  kS64,
  kU64,
  kF8E4M3FN,
  kF8E5M2,
  kBF16,
  kF16,
  kF32,
  kF64,
};

enum class DTypeKind : uint8_t { kBool, kSigned, kUnsigned, kFloat };

struct DTypeInfo {
  DType dtype;
  std::string_view name;         // as users and NumPy write it: "bf16", "s32"
  std::string_view mlir;         // as StableHLO text writes it: "bf16", "i32", "ui8"
  std::string_view safetensors;  // as a safetensors header writes it: "BF16"; empty if it has none
  int bits;
  DTypeKind kind;
};

const DTypeInfo& Info(DType dtype);

inline std::string_view Name(DType dtype) { return Info(dtype).name; }
inline bool IsFloat(DType dtype) { return Info(dtype).kind == DTypeKind::kFloat; }
inline bool IsInteger(DType dtype) {
  return Info(dtype).kind == DTypeKind::kSigned || Info(dtype).kind == DTypeKind::kUnsigned;
}

// Bytes that `elements` elements take in dense host storage; 4-bit types are packed two a byte.
int64_t ByteSize(DType dtype, int64_t elements);

// Looks a type up by its short name ("f32"), its usual long name ("float32", "bfloat16") or, with
// DTypeFromSafetensors, by the header's name ("F32").
std::optional<DType> DTypeFromName(std::string_view name);
std::optional<DType> DTypeFromSafetensors(std::string_view name);

}  // namespace sophia
