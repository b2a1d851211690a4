#include "sophia/io/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "sophia/base/error.h"
#include "sophia/base/float_bits.h"

namespace sophia::io {
namespace {

using ::testing::ElementsAre;
using ::testing::ThrowsMessage;

template <typename To, typename From>
std::vector<To> Convert(DType from, const std::vector<From>& values, DType to) {
  std::vector<To> result(values.size());
  ConvertElements(from, std::as_bytes(std::span(values)).data(),
                  static_cast<int64_t>(values.size()), to,
                  std::as_writable_bytes(std::span(result)).data(), "x");
  return result;
}

// Floats around every boundary of the narrow formats, and random bit patterns.
std::vector<float> Floats() {
  std::vector<float> values = {0.0f, -0.0f,      INFINITY, -INFINITY,
                               NAN,  65519.996f, 65520.0f, 3.4e38f};
  for (uint32_t half = 0; half <= 0xffff; ++half) {
    const float value = F16ToFloat(static_cast<uint16_t>(half));
    for (float neighbour : {std::nextafter(value, 1e9f), value, std::nextafter(value, -1e9f)}) {
      values.push_back(neighbour);
    }
    values.push_back(value + std::ldexp(1.0f, -25));
  }
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    values.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
  }
  return values;
}

TEST(ConvertTest, HalfToFloatAgreesWithBaseOnEveryPattern) {
  for (uint32_t half = 0; half <= 0xffff; ++half) {
    const float expected = F16ToFloat(static_cast<uint16_t>(half));
    const float got = HalfToFloat(static_cast<uint16_t>(half));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(got)) << half;
    } else {
      EXPECT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(expected)) << half;
    }
  }
}

TEST(ConvertTest, NarrowingAgreesWithBase) {
  const std::vector<float> values = Floats();
  const auto f16 = Convert<uint16_t>(DType::kF32, values, DType::kF16);
  const auto bf16 = Convert<uint16_t>(DType::kF32, values, DType::kBF16);
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) {
      EXPECT_TRUE(std::isnan(F16ToFloat(f16[i])));
      EXPECT_TRUE(std::isnan(Bf16ToFloat(bf16[i])));
    } else {
      EXPECT_EQ(f16[i], FloatToF16(values[i])) << values[i];
      EXPECT_EQ(bf16[i], FloatToBf16(values[i])) << values[i];
    }
  }
}

TEST(ConvertTest, WidensIntegersAndChecksTheirRange) {
  EXPECT_THAT((Convert<int32_t>(DType::kS64, std::vector<int64_t>{-5, 7}, DType::kS32)),
              ElementsAre(-5, 7));
  EXPECT_THAT((Convert<int64_t>(DType::kU8, std::vector<uint8_t>{255}, DType::kS64)),
              ElementsAre(255));
  EXPECT_THAT(
      [] { Convert<int32_t>(DType::kS64, std::vector<int64_t>{int64_t{1} << 31}, DType::kS32); },
      ThrowsMessage<Error>("[x] expected values of element type s32, got 2147483648"));
  EXPECT_THROW(Convert<int64_t>(DType::kU64, std::vector<uint64_t>{UINT64_MAX}, DType::kS64),
               Error);
}

TEST(ConvertTest, KnowsWhatItConverts) {
  EXPECT_TRUE(CanConvert(DType::kF8E5M2, DType::kBF16));
  EXPECT_TRUE(CanConvert(DType::kU64, DType::kU64));
  EXPECT_FALSE(CanConvert(DType::kS8, DType::kF32));
  EXPECT_FALSE(CanConvert(DType::kF32, DType::kS32));
  EXPECT_FALSE(CanConvert(DType::kS4, DType::kS32));
}

}  // namespace
}  // namespace sophia::io
