#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sophia/base/dtype.h"

namespace sophia::io {

// As sophia::F16ToFloat, without branches so that loops over it vectorise.
inline float HalfToFloat(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu;
  // The fields moved in place read as the value times 2^-112, for subnormals too.
  const float finite = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  const uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(finite) | special | sign);
}

// Whether ConvertElements takes this pair: equal types; any float to f32, bf16 or f16; bool or any
// integer of 8 bits or more to s32 or s64.
bool CanConvert(DType from, DType to);

// Converts `count` dense elements; neither pointer needs to be aligned. Floats round to nearest
// even. Throws Error naming `where` when an integer does not fit `to`.
void ConvertElements(DType from, const std::byte* source, int64_t count, DType to,
                     std::byte* target, std::string_view where);

}  // namespace sophia::io
