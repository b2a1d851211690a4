#pragma once

#include <bit>
#include <cstdint>

namespace sophia {

// Conversions between float and the bit patterns of narrow formats. FloatTo* round to nearest even;
// overflow gives infinity where the format has one and NaN (f8e4m3fn) otherwise. Those of 16 bits
// have no branches, so that loops over them vectorise.
inline float Bf16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

inline uint16_t FloatToBf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet_nan = (bits >> 16) | 0x40u;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
}

inline float F16ToFloat(uint16_t bits) {
  const uint32_t magnitude = bits & 0x7fffu;
  // The fields moved in place read as the value times 2^-112, for subnormals too.
  const float finite = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  const uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(finite) | special | sign);
}

inline uint16_t FloatToF16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t sign = (bits >> 16) & 0x8000u;
  // Rebias the exponent by -112 and round away the low 13 bits; carries reach the exponent.
  const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Adding 0.5 makes the float unit round to 2^-24, the unit of f16 subnormals.
  const uint32_t subnormal =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  const uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  const uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
  return static_cast<uint16_t>(sign | (magnitude >= 0x47800000u ? special : finite));
}

// OCP 8-bit floating point:
// https://www.opencompute.org/documents/ocp-8-bit-floating-point-specification-ofp8-revision-1-0-2023-12-01-pdf-1
float F8E4M3FNToFloat(uint8_t bits);
float F8E5M2ToFloat(uint8_t bits);
uint8_t FloatToF8E4M3FN(float value);
uint8_t FloatToF8E5M2(float value);

}  // namespace sophia
