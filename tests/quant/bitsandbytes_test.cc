// Folders that bitsandbytes has quantised (tests/fixtures/bitsandbytes), against its own values.
#include "sophia/models/bitsandbytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "sophia/base/error_for_test.h"
#include "sophia/base/float_bits.h"
#include "sophia/io/safetensors.h"
#include "sophia/models/quant_rule.h"
#include "sophia/quant/unpack.h"
#include "tests/quant/host_parts.h"

namespace sophia::models {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

const std::filesystem::path kFolders = SOPHIA_SOURCE_DIR "/tests/fixtures/bitsandbytes";

nn::ParamSpec KeysOf(const std::string& format) {
  return {
      .path = "model.layers.{}.self_attn.k_proj.weight",
      .dims = {32, 64},
      .layers = 2,
      .packed = {.format = quant::FindPackedFormat(format), .unpacked = {DType::kF32, {32, 64}}}};
}

std::vector<float> ValuesOf(const std::string& folder, const std::string& name) {
  const io::SafetensorsFile file(kFolders / folder / "values.safetensors");
  std::vector<float> values(static_cast<size_t>(file.Get(name).shape.elements()));
  file.Read(name, DType::kF32, std::span(values));
  return values;
}

std::string FormatOf(const ModelFiles& files, const nn::ParamSpec& spec) {
  const quant::PackedFormat* format = files.StoredFormat(spec);
  return format == nullptr ? "none" : std::string(format->name);
}

using quant::HostParts;
using quant::Inputs;

HostParts PartsOf(const ModelFiles& files, const std::string& format) {
  const nn::ParamSpec spec = KeysOf(format);
  HostParts parts(*spec.packed.format, spec.dims);
  files.ReadPacked(spec, 0, parts.bytes());
  return parts;
}

struct Case {
  std::string folder;
  std::string format;
  DType own;
};

class BitsandbytesTest : public ::testing::TestWithParam<Case> {
 protected:
  const ModelFiles files_ = ModelFiles::Open(kFolders / GetParam().folder);
  const quant::PackedFormat& format_ = *quant::FindPackedFormat(GetParam().format);
};

TEST_P(BitsandbytesTest, UnpacksToItsValuesOnTheDevice) {
  const std::string name = KeysOf(GetParam().format).PathOf(0);
  const HostParts parts = PartsOf(files_, GetParam().format);
  for (const auto& [suffix, dtype] : {std::pair{"", DType::kF32}, {".own", GetParam().own}}) {
    const std::vector<float> got = parts.Compute(
        [&, as = dtype](Inputs p) -> Tensor { return quant::Unpack(format_, p, as); });
    EXPECT_THAT(got, ElementsAreArray(ValuesOf(GetParam().folder, name + suffix))) << suffix;
  }
}

TEST_P(BitsandbytesTest, ReadsItsValuesOnTheHost) {
  for (const char* path :
       {"model.layers.0.self_attn.k_proj.weight", "model.layers.1.mlp.down_proj.weight"}) {
    const std::vector<float> expected = ValuesOf(GetParam().folder, path);
    const int64_t rows = std::string(path).find("k_proj") != std::string::npos ? 32 : 64;
    const nn::ParamSpec spec{.path = path,
                             .dims = {rows, static_cast<int64_t>(expected.size()) / rows}};
    std::vector<float> got(expected.size());
    files_.Read(spec, 0, std::as_writable_bytes(std::span(got)));
    EXPECT_THAT(got, ElementsAreArray(expected)) << path;
  }
}

INSTANTIATE_TEST_SUITE_P(Folders, BitsandbytesTest,
                         ::testing::Values(Case{"nested", "nf4", DType::kBF16},
                                           Case{"plain", "nf4_plain", DType::kF16}),
                         [](const auto& test) { return test.param.folder; });

TEST(BitsandbytesFolderTest, KeepsTheStoredBytes) {
  const auto files = ModelFiles::Open(kFolders / "nested");
  const std::string name = KeysOf("nf4").PathOf(0);
  const HostParts parts = PartsOf(files, "nf4");
  const std::span<const std::byte> absmax = files.tensors().Stored(name + ".absmax");
  EXPECT_EQ(std::memcmp(parts.As<uint8_t>(1).data(), absmax.data(), absmax.size()), 0);
  const std::span<const std::byte> codes = files.tensors().Stored(name);
  // Element 32 of row 0 shares its byte on the device with element 0, there with element 33.
  EXPECT_EQ(parts.As<uint8_t>(0)[0] & 15, std::to_integer<int>(codes[0]) >> 4);
  EXPECT_EQ(parts.As<uint8_t>(0)[0] >> 4, std::to_integer<int>(codes[16]) >> 4);
}

// Whether the weights are there or config.json alone.
TEST(BitsandbytesFolderTest, AutoKeepsWhatWasQuantised) {
  const nn::ParamSpec values{
      .path = "model.layers.{}.self_attn.v_proj.weight", .dims = {32, 64}, .layers = 2};
  const nn::ParamSpec down{
      .path = "model.layers.{}.mlp.down_proj.weight", .dims = {64, 96}, .layers = 2};
  for (const bool whole : {true, false}) {
    const auto open = [&](const char* name) -> ModelFiles {
      return whole ? ModelFiles::Open(kFolders / name) : ModelFiles::OpenConfig(kFolders / name);
    };
    const ModelFiles nested = open("nested");
    const ModelFiles plain = open("plain");
    EXPECT_EQ(FormatOf(nested, KeysOf("nf4")), "nf4");
    EXPECT_EQ(FormatOf(nested, values), "nf4");
    EXPECT_EQ(FormatOf(plain, KeysOf("nf4_plain")), "nf4_plain");
    EXPECT_EQ(FormatOf(plain, values), "none");
    EXPECT_EQ(FormatOf(plain, down), "none");  // rows of one and a half blocks
    EXPECT_FALSE(nested.config().contains("quantization_config"));
  }
}

TEST(BitsandbytesFolderTest, AnotherMapOfScalesIsResolvedOnTheHost) {
  const auto files = ModelFiles::Open(kFolders / "nested");
  const std::string name = KeysOf("nf4").PathOf(0);
  const auto weight = FindBitsandbytesWeight(files.tensors(), name);
  ASSERT_TRUE(weight);
  quant::StoredNf4 other = weight->stored;
  EXPECT_EQ(other.Format().name, "nf4");
  for (float& value : other.nested_map) value *= 1.5F;
  EXPECT_EQ(other.Format().name, "nf4_plain");
  HostParts parts(other.Format(), weight->dims);
  quant::PackNf4(other, other.Format(), weight->dims, parts.bytes());
  std::vector<float> expected(static_cast<size_t>(Product(weight->dims)));
  quant::DequantiseNf4(other, expected);
  const std::vector<float> got = parts.Compute(
      [&](Inputs p) -> Tensor { return quant::Unpack(other.Format(), p, DType::kF32); });
  EXPECT_THAT(got, ElementsAreArray(expected));
  EXPECT_NE(expected, ValuesOf("nested", name));
}

TEST(BitsandbytesFolderTest, SkipsByPathStartAndEnd) {
  const BitsandbytesConfig config{.is_nested = true,
                                  .skipped = {"lm_head", "model.layers.1", "mlp.up_proj"}};
  EXPECT_TRUE(config.Skips("lm_head"));
  EXPECT_TRUE(config.Skips("model.layers.1.self_attn.q_proj"));
  EXPECT_TRUE(config.Skips("model.layers.0.mlp.up_proj"));
  EXPECT_FALSE(config.Skips("model.layers.11.self_attn.q_proj"));
  EXPECT_FALSE(config.Skips("model.layers.0.mlp.down_proj"));
}

TEST(BitsandbytesFolderTest, OtherWaysToQuantiseAreErrors) {
  const auto message = [](const Json& quantization) {
    Json config{{"quantization_config", quantization}};
    return MessageOf([&] { TakeBitsandbytesConfig(config, "config.json"); });
  };
  const std::string where = "[config.json: quantization_config] expected ";
  EXPECT_EQ(message({{"quant_method", "gptq"}, {"bits", 4}}),
            where + "quant_method bitsandbytes, got 'gptq'");
  EXPECT_EQ(message({{"load_in_8bit", true}}), where + "load_in_4bit true, got false");
  EXPECT_EQ(message({{"load_in_4bit", true}, {"bnb_4bit_quant_type", "fp4"}}),
            where + "bnb_4bit_quant_type nf4, got 'fp4'");
  EXPECT_EQ(message({{"load_in_4bit", true},
                     {"bnb_4bit_quant_type", "nf4"},
                     {"bnb_4bit_quant_storage", "bfloat16"}}),
            where + "bnb_4bit_quant_storage uint8, got 'bfloat16'");
  Json none{{"quantization_config", nullptr}};
  EXPECT_FALSE(TakeBitsandbytesConfig(none, "config.json"));
}

}  // namespace
}  // namespace sophia::models
