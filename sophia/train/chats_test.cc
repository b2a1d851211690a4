#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "sophia/base/file.h"
#include "sophia/models/model_files.h"
#include "sophia/nn/loss.h"
#include "sophia/train/examples.h"

namespace sophia::train {
namespace {

const std::filesystem::path kFixtures =
    std::filesystem::path(SOPHIA_SOURCE_DIR) / "tests" / "fixtures";

TextEncoder LoadEncoder(const Json& about) {
  const auto name = about.at("tokenizer").get<std::string>();
  if (about.at("file").is_null()) {
    const auto model =
        models::ModelFiles::Open(SOPHIA_DEPS_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf");
    return TextEncoder::ForTokenizer(model.LoadTokenizer(), 49152);
  }
  const std::string file = about.at("file").get<std::string>() + ".json";
  io::Tokenizer tokenizer =
      io::Tokenizer::FromJson(ReadFile(kFixtures / "tokenizer" / file),
                              {.bos_token = about.at("bos").get<std::string>(),
                               .eos_token = about.at("eos").get<std::string>(),
                               .chat_template = ReadFile(kFixtures / "chats" / (name + ".jinja"))},
                              file);
  const int64_t vocab = tokenizer.vocab_size();
  return TextEncoder::ForTokenizer(std::move(tokenizer), vocab);
}

TEST(ChatsTest, TokensAndLearntOnesAreThoseOfTransformers) {
  std::map<std::string, TextEncoder> encoders;
  for (const Json& expected : ReadJson(kFixtures / "chats" / "cases.json")) {
    const auto name = expected.at("tokenizer").get<std::string>();
    if (!encoders.contains(name)) encoders[name] = LoadEncoder(expected);
    SCOPED_TRACE(Dump(expected));
    const Example example = EncodeRow(io::ParseRow(expected, "row"), encoders[name], "row");
    EXPECT_EQ(example.ids, expected.at("ids").get<std::vector<int32_t>>());
    std::vector<int> learnt;
    for (const int32_t label : example.labels) learnt.push_back(label != nn::kIgnoredLabel);
    EXPECT_EQ(learnt, expected.at("learnt").get<std::vector<int>>());
  }
}

}  // namespace
}  // namespace sophia::train
