#include "sophia/base/float_bits.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace sophia {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

uint32_t Bits(float value) { return std::bit_cast<uint32_t>(value); }

// IEEE 754 binary16, by its definition.
float F16Value(uint32_t bits) {
  const uint32_t exponent = bits >> 10 & 31;
  const auto fraction = static_cast<float>(bits & 1023);
  const float magnitude = exponent == 0 ? std::ldexp(fraction, -24)
                          : exponent < 31
                              ? std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25)
                          : fraction == 0 ? kInfinity
                                          : kNan;
  return bits >> 15 != 0 ? -magnitude : magnitude;
}

TEST(FloatBitsTest, EveryF16PatternWidens) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float got = F16ToFloat(static_cast<uint16_t>(bits));
    if (std::isnan(F16Value(bits))) {
      EXPECT_TRUE(std::isnan(got)) << bits;
    } else {
      EXPECT_EQ(Bits(got), Bits(F16Value(bits))) << bits;
    }
  }
}

TEST(FloatBitsTest, F16RoundsToNearestEvenBetweenAnyTwoValues) {
  for (uint32_t low = 0; low <= 0x7bff; ++low) {
    const uint32_t high = low + 1;
    const float low_value = F16Value(low);
    const float high_value = high == 0x7c00 ? 65536.0f : F16Value(high);
    const float middle = (low_value + high_value) / 2;
    EXPECT_EQ(FloatToF16(low_value), low);
    EXPECT_EQ(FloatToF16(std::nextafter(middle, 0.0f)), low);
    EXPECT_EQ(FloatToF16(middle), low % 2 == 0 ? low : high);
    EXPECT_EQ(FloatToF16(std::nextafter(middle, kInfinity)), high);
    EXPECT_EQ(FloatToF16(-middle), FloatToF16(middle) | 0x8000);
  }
  EXPECT_EQ(FloatToF16(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_EQ(FloatToF16(std::numeric_limits<float>::max()), 0x7c00);
  EXPECT_EQ(FloatToF16(-kInfinity), 0xfc00);
  EXPECT_TRUE(std::isnan(F16ToFloat(FloatToF16(kNan))));
}

TEST(FloatBitsTest, Bf16RoundsToNearestEvenBetweenAnyTwoValues) {
  for (uint32_t low = 0; low < 0x7f80; ++low) {
    const uint32_t high = low + 1;
    const uint32_t middle = low << 16 | 0x8000;
    const auto narrow = [](uint32_t bits) { return FloatToBf16(std::bit_cast<float>(bits)); };
    EXPECT_EQ(narrow(low << 16), low);
    EXPECT_EQ(narrow(middle - 1), low);
    EXPECT_EQ(narrow(middle), low % 2 == 0 ? low : high);
    EXPECT_EQ(narrow(middle + 1), high);
    EXPECT_EQ(narrow(middle | 0x80000000u), narrow(middle) | 0x8000);
  }
  EXPECT_EQ(FloatToBf16(kInfinity), 0x7f80);
  EXPECT_TRUE(std::isnan(Bf16ToFloat(FloatToBf16(kNan))));
  EXPECT_TRUE(std::isnan(Bf16ToFloat(FloatToBf16(std::bit_cast<float>(0x7f800001u)))));
}

TEST(FloatBitsTest, EveryF8ValueRoundTrips) {
  for (uint32_t bits = 0; bits <= 0xff; ++bits) {
    const auto byte = static_cast<uint8_t>(bits);
    if (!std::isnan(F8E4M3FNToFloat(byte))) {
      EXPECT_EQ(FloatToF8E4M3FN(F8E4M3FNToFloat(byte)), bits);
    }
    if (!std::isnan(F8E5M2ToFloat(byte))) {
      EXPECT_EQ(FloatToF8E5M2(F8E5M2ToFloat(byte)), bits);
    }
  }
  EXPECT_EQ(F8E4M3FNToFloat(0x7e), 448.0f);
  EXPECT_EQ(F8E5M2ToFloat(0x7b), 57344.0f);
}

}  // namespace
}  // namespace sophia
