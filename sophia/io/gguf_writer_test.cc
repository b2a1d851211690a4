#include "sophia/io/gguf_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "sophia/base/error_for_test.h"
#include "sophia/io/gguf_blocks.h"
#include "sophia/io/gguf_encode.h"

namespace sophia::io {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(GgufWriterTest, ReadsBackAsWritten) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a.gguf";
  const std::vector<float> first = {1, 2, 3, 4, 5, 6};
  const std::vector<float> second = {7};
  GgufWriter writer(path,
                    {{"text", GgufText("grüße")},
                     {"count", GgufCount(7)},
                     {"number", GgufNumber(0.5)},
                     {"flag", GgufFlag(true)},
                     {"texts", GgufTexts({"a", ""})},
                     {"integers", GgufIntegers({-1, 2})},
                     {"numbers", GgufNumbers({0.25, -8})}},
                    {{"first", {2, 3}, "F32"}, {"second", {1}, "F32"}});
  writer.Append(std::as_bytes(std::span(first)));
  EXPECT_FALSE(std::filesystem::exists(path));
  writer.Append(std::as_bytes(std::span(second)));
  writer.Commit();

  const GgufFile file(path);
  const GgufMetadata& metadata = file.metadata();
  EXPECT_EQ(metadata.Require<std::string>("text"), "grüße");
  EXPECT_EQ(metadata.Require<int64_t>("count"), 7);
  EXPECT_EQ(metadata.Require<double>("number"), 0.5);
  EXPECT_TRUE(metadata.Require<bool>("flag"));
  EXPECT_THAT(metadata.Require<std::vector<std::string>>("texts"), ElementsAre("a", ""));
  EXPECT_THAT(metadata.Require<std::vector<int64_t>>("integers"), ElementsAre(-1, 2));
  EXPECT_THAT(metadata.Require<std::vector<double>>("numbers"), ElementsAre(0.25, -8));
  EXPECT_EQ(file.Get("first").shape.dims, (Dims{2, 3}));
  std::vector<float> read(6);
  file.Read("first", DType::kF32, std::span(read));
  EXPECT_EQ(read, first);
  read.resize(1);
  file.Read("second", DType::kF32, std::span(read));
  EXPECT_EQ(read, second);
}

TEST(GgufWriterTest, RefusesPartsOfBlocks) {
  const TemporaryFolder folder;
  EXPECT_THAT(MessageOf([&] {
                GgufWriter(folder.path() / "a.gguf", {}, {{"odd", {2, 33}, "Q8_0"}});
              }),
              HasSubstr("odd"));
}

// Root of the mean squared error over that of the values.
double ErrorOf(std::string_view storage, const std::vector<float>& values) {
  const Storage layout = GgufStorage(GgufTypeOf(storage).value()).value();
  const auto blocks = static_cast<int64_t>(values.size()) / layout.block_elements;
  std::vector<std::byte> bytes(static_cast<size_t>(blocks * layout.block_bytes));
  EncodeGguf(storage, values, bytes);
  std::vector<float> decoded(values.size());
  layout.dequantize(bytes.data(), blocks, decoded.data());
  double error = 0;
  double squares = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(static_cast<double>(decoded[i]) - values[i], 2);
    squares += std::pow(static_cast<double>(values[i]), 2);
  }
  return std::sqrt(error / squares);
}

std::vector<float> NormalValues() {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> values(256 * 64);
  for (float& value : values) value = normal(random);
  return values;
}

// A K-quant spends its bits better than the simple type of as many: its scales are searched for.
TEST(GgufEncodeTest, KQuantsAreCloser) {
  const std::vector<float> values = NormalValues();
  EXPECT_LT(ErrorOf("Q4_K", values), 0.85 * ErrorOf("Q4_0", values));
  EXPECT_LT(ErrorOf("Q6_K", values), 0.55 * ErrorOf("Q5_0", values));
  EXPECT_LT(ErrorOf("Q8_0", values), ErrorOf("Q6_K", values));
}

TEST(GgufEncodeTest, ZerosAndSingleValuesSurvive) {
  for (const char* storage : {"Q8_0", "Q4_0", "Q5_0", "Q4_K", "Q6_K"}) {
    std::vector<float> values(256, 0.0f);
    const Storage layout = GgufStorage(GgufTypeOf(storage).value()).value();
    std::vector<std::byte> bytes(
        static_cast<size_t>(256 / layout.block_elements * layout.block_bytes));
    std::vector<float> decoded(256);
    EncodeGguf(storage, values, bytes);
    layout.dequantize(bytes.data(), 256 / layout.block_elements, decoded.data());
    EXPECT_EQ(decoded, values) << storage;
    values[100] = -3;
    EncodeGguf(storage, values, bytes);
    layout.dequantize(bytes.data(), 256 / layout.block_elements, decoded.data());
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_NEAR(decoded[i], values[i], 0.02) << storage << " " << i;
    }
  }
}

}  // namespace
}  // namespace sophia::io
