// Logits in f32 against transformers and peft, for every config feature of the fixtures.
#include "sophia/generate/logits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/generate/tiny_model.h"

namespace sophia::generate {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr double kTolerance = 1e-4;  // of the logits' range
constexpr const char* kRefused = "hidden_act_gelu";

std::vector<std::string> FoldersOf(const std::string& fixture) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(Fixture(fixture))) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<float> LogitsOf(const LoadedModel& model, const IdArray& ids) {
  return FullLogits(model.plan, model.parameters,
                    {.ids = ids.values, .batch = ids.dims[0], .seq = ids.dims[1]});
}

class LlamaLogits : public ::testing::TestWithParam<std::string> {};

TEST_P(LlamaLogits, EqualTransformers) {
  const fs::path folder = Fixture("llama/" + GetParam());
  if (GetParam() == kRefused) {
    EXPECT_THAT(MessageOf([&] { LoadedModel model(folder); }),
                AllOf(HasSubstr("config.json"), HasSubstr("expected 'hidden_act' silu")));
    return;
  }
  const LoadedModel model(folder);
  const IdArray ids = ReadIds(io::SafetensorsFile(folder / "ids.safetensors"), "ids");
  const FloatArray expected =
      ReadFloats(io::SafetensorsFile(folder / "logits.safetensors"), "logits");
  EXPECT_LE(RelativeError(LogitsOf(model, ids), expected.values), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Cases, LlamaLogits, ::testing::ValuesIn(FoldersOf("llama")),
                         [](const auto& info) { return info.param; });

// Weights that bitsandbytes quantised, unpacked once.
class BitsandbytesLogits : public ::testing::TestWithParam<std::string> {};

TEST_P(BitsandbytesLogits, EqualTransformers) {
  const fs::path folder = Fixture("bitsandbytes/" + GetParam());
  const IdArray ids = ReadIds(io::SafetensorsFile(folder / "ids.safetensors"), "ids");
  const FloatArray expected =
      ReadFloats(io::SafetensorsFile(folder / "logits.safetensors"), "logits");
  EXPECT_LE(RelativeError(LogitsOf(LoadedModel(folder), ids), expected.values), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Folders, BitsandbytesLogits, ::testing::Values("nested", "plain"),
                         [](const auto& info) { return info.param; });

class AdapterLogits : public ::testing::TestWithParam<std::string> {};

TEST_P(AdapterLogits, EqualPeft) {
  const fs::path adapter = Fixture("sft/adapters/" + GetParam());
  const Json config = ReadJson(adapter / "adapter_config.json");
  const fs::path base =
      fs::path(SOPHIA_SOURCE_DIR) / config["base_model_name_or_path"].get<std::string>();
  const LoadedModel model(base, adapter);
  const IdArray ids = ReadIds(io::SafetensorsFile(base / "ids.safetensors"), "ids");
  const FloatArray expected =
      ReadFloats(io::SafetensorsFile(adapter / "logits.safetensors"), "logits");
  EXPECT_LE(RelativeError(LogitsOf(model, ids), expected.values), kTolerance);
  const FloatArray without = ReadFloats(io::SafetensorsFile(base / "logits.safetensors"), "logits");
  EXPECT_GT(RelativeError(without.values, expected.values), 10 * kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Cases, AdapterLogits, ::testing::ValuesIn(FoldersOf("sft/adapters")),
                         [](const auto& info) { return info.param; });

TEST(Logits, RefusesIdsThatTheModelDoesNotKnow) {
  const LoadedModel model(Fixture("llama/gqa"));
  const auto message = [&](std::vector<int32_t> ids) {
    return MessageOf([&] {
      FullLogits(model.plan, model.parameters,
                 {.ids = ids, .batch = 1, .seq = static_cast<int64_t>(ids.size())});
    });
  };
  EXPECT_EQ(message({3, 128}), "[logits] expected token ids from 0 to 127, got 128 at place 1");
  EXPECT_EQ(message({-1}), "[logits] expected token ids from 0 to 127, got -1 at place 0");
  EXPECT_EQ(message({}), "[logits] expected at least one token, got ids of sizes [1, 0]");
}

}  // namespace
}  // namespace sophia::generate
