#pragma once

#include <bit>
#include <cstdint>

namespace sophia {

// Conversions between float and the bit patterns of narrow formats. To* round to nearest even;
// overflow gives infinity where the format has one and NaN (f8e4m3fn) otherwise.
inline float Bf16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}
uint16_t FloatToBf16(float value);

float F16ToFloat(uint16_t bits);
uint16_t FloatToF16(float value);

// OCP 8-bit floating point:
// https://www.opencompute.org/documents/ocp-8-bit-floating-point-specification-ofp8-revision-1-0-2023-12-01-pdf-1
float F8E4M3FNToFloat(uint8_t bits);
float F8E5M2ToFloat(uint8_t bits);
uint8_t FloatToF8E4M3FN(float value);
uint8_t FloatToF8E5M2(float value);

}  // namespace sophia
