#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "sophia/base/float_bits.h"

namespace sophia::io::blocks {

inline constexpr int kSmallBlock = 32;   // elements of a Q*_0 or Q*_1 block
inline constexpr int kSuperBlock = 256;  // elements of a K-quant block

// Block structures as they lie in the file. All fields are bytes or unaligned f16 bit patterns,
// read through Half. Layouts: ggml's block structures,
// https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h. QnT0 and QnT1 are ggml's types
// Qn_0 and Qn_1.
using Half = std::array<uint8_t, 2>;
inline float Value(const Half& half) {
  return F16ToFloat(static_cast<uint16_t>(half[0] | (half[1] << 8)));
}
inline Half ToHalf(float value) {
  const uint16_t bits = FloatToF16(value);
  return {static_cast<uint8_t>(bits & 255), static_cast<uint8_t>(bits >> 8)};
}

struct BlockQ4T0 {
  Half d;
  uint8_t low_high[16];  // element i in the low nibble, i + 16 in the high one
};
struct BlockQ4T1 {
  Half d, m;
  uint8_t low_high[16];
};
struct BlockQ5T0 {
  Half d;
  uint8_t fifth[4];  // bit i is the fifth bit of element i
  uint8_t low_high[16];
};
struct BlockQ5T1 {
  Half d, m;
  uint8_t fifth[4];
  uint8_t low_high[16];
};
struct BlockQ8T0 {
  Half d;
  int8_t q[32];
};
struct BlockQ2K {
  uint8_t scale_min[16];  // 4-bit scale (low) and minimum (high) of each 16 elements
  uint8_t q[64];
  Half d, d_min;
};
struct BlockQ3K {
  uint8_t high[32];  // bit 4 * half + quarter is the third bit
  uint8_t q[64];
  uint8_t scales[12];
  Half d;
};
struct BlockQ4K {
  Half d, d_min;
  uint8_t scales[12];
  uint8_t low_high[128];
};
struct BlockQ5K {
  Half d, d_min;
  uint8_t scales[12];
  uint8_t fifth[32];
  uint8_t low_high[128];
};
struct BlockQ6K {
  uint8_t low[128];
  uint8_t high[64];
  int8_t scales[16];
  Half d;
};

// 6-bit scale and minimum of group `i` of 8: the first four lie in the low six bits of bytes 0–3
// and 4–7; the others take nibbles of bytes 8–11 and the two bits left over above.
inline std::pair<int, int> ScaleAndMinK(const uint8_t* scales, int i) {
  if (i < 4) return {scales[i] & 63, scales[i + 4] & 63};
  return {(scales[i + 4] & 15) | (scales[i - 4] >> 6) << 4, (scales[i + 4] >> 4) | (scales[i] >> 6)
                                                                                       << 4};
}

}  // namespace sophia::io::blocks
