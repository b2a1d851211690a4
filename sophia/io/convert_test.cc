#include "sophia/io/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
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

TEST(ConvertTest, ConvertsBetweenFloats) {
  const std::vector<double> values = {1.0, -2.5, 65504.0, 1e-7, 3e38, NAN};
  const auto f32 = Convert<float>(DType::kF64, values, DType::kF32);
  const auto f16 = Convert<uint16_t>(DType::kF32, f32, DType::kF16);
  const auto bf16 = Convert<uint16_t>(DType::kF32, f32, DType::kBF16);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<float>(values[i]);
    EXPECT_EQ(std::bit_cast<uint32_t>(f32[i]), std::bit_cast<uint32_t>(value));
    EXPECT_EQ(f16[i], FloatToF16(value)) << value;
    EXPECT_EQ(bf16[i], FloatToBf16(value)) << value;
  }
  const auto wide = Convert<float>(DType::kF16, f16, DType::kF32);
  EXPECT_THAT(std::span(wide).first(3), ElementsAre(1, -2.5, 65504));
  EXPECT_EQ(wide[4], INFINITY);
  EXPECT_TRUE(std::isnan(wide[5]));
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
