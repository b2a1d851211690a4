// Tokenizers carried to the other kind of file give the same ids and texts.
#include "sophia/io/tokenizer_export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/base/error_for_test.h"
#include "sophia/io/gguf_writer.h"
#include "sophia/io/tokenizer_for_test.h"

namespace sophia::io::tokenizer_test {
namespace {

using ::testing::HasSubstr;

void ExpectSame(const Tokenizer& got, const Tokenizer& expected) {
  for (const std::string& text : Corpus()) {
    const Ids ids = expected.Encode(text, {.add_special_tokens = true});
    EXPECT_EQ(got.Encode(text, {.add_special_tokens = true}), ids) << text;
    EXPECT_EQ(got.Decode(ids), expected.Decode(ids)) << text;
  }
}

// A model folder with one of the fixtures.
class FolderTest : public ::testing::TestWithParam<std::string> {
 protected:
  FolderTest() {
    WriteFile(folder_.path() / "tokenizer.json", ReadFile(kFixtures / (GetParam() + ".json")));
  }
  TemporaryFolder folder_;
};

TEST_P(FolderTest, ReadsTheSameFromGguf) {
  const Tokenizer expected = Tokenizer::FromFolder(folder_.path());
  const int64_t vocab = expected.vocab_size() + 3;
  const TemporaryFolder out;
  const auto path = out.path() / "tokenizer.gguf";
  GgufWriter writer(path, GgufTokenizerEntries(GgufTokenizerFromFolder(folder_.path(), vocab)), {});
  writer.Commit();
  const GgufTokenizerData data = ReadGgufTokenizer(GgufFile(path).metadata());
  ASSERT_EQ(static_cast<int64_t>(data.tokens.size()), vocab);
  EXPECT_EQ(data.tokens.back(), fmt::format("[PAD{}]", vocab - 1));
  ExpectSame(Tokenizer::FromGguf(data, "test"), expected);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, FolderTest,
                         ::testing::Values("smollm", "llama3", "qwen2", "llama2"),
                         [](const auto& info) { return info.param; });

TEST(GgufTokenizerTest, RefusesSplitsWithoutAName) {
  const TemporaryFolder folder;
  WriteFile(folder.path() / "tokenizer.json", ReadFile(kFixtures / "behaviors.json"));
  EXPECT_THAT(MessageOf([&] { GgufTokenizerFromFolder(folder.path(), 4096); }),
              HasSubstr("expected a pre-tokenizer that has a name in GGUF, got"));
}

TEST(GgufTokenizerTest, RefusesIdsBeyondTheEmbedding) {
  const TemporaryFolder folder;
  WriteFile(folder.path() / "tokenizer.json", ReadFile(kFixtures / "gpt2.json"));
  EXPECT_THAT(MessageOf([&] { GgufTokenizerFromFolder(folder.path(), 100); }),
              HasSubstr("expected token ids below the embedding's 100, got"));
}

TEST(TokenizerJsonTest, ByteLevelReadsTheSame) {
  const auto model =
      std::filesystem::path(SOPHIA_DEPS_DIR) / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf";
  const GgufTokenizerData data = ReadGgufTokenizer(GgufFile(model).metadata());
  const TemporaryFolder folder;
  WriteFile(folder.path() / "tokenizer.json", Dump(TokenizerJson(data, "test")));
  WriteFile(folder.path() / "tokenizer_config.json", Dump(TokenizerConfigJson(data, 8192)));
  const Tokenizer expected = Tokenizer::FromGguf(data, "test");
  const Tokenizer got = Tokenizer::FromFolder(folder.path());
  ExpectSame(got, expected);
  EXPECT_EQ(got.eos_ids(), expected.eos_ids());
  EXPECT_EQ(got.bos_id(), expected.bos_id());
  EXPECT_EQ(got.chat_template(), expected.chat_template());
  const GgufTokenizerData back =
      GgufTokenizerFromFolder(folder.path(), static_cast<int64_t>(data.tokens.size()));
  EXPECT_EQ(back.tokens, data.tokens);
  EXPECT_EQ(back.merges, data.merges);
  EXPECT_EQ(back.pre, data.pre);
  EXPECT_EQ(back.token_types, data.token_types);
}

TEST(TokenizerJsonTest, SentencePieceReadsTheSame) {
  const TemporaryFolder source;
  WriteFile(source.path() / "tokenizer.json", ReadFile(kFixtures / "llama2.json"));
  const int64_t vocab = Tokenizer::FromFolder(source.path()).vocab_size();
  GgufTokenizerData data = GgufTokenizerFromFolder(source.path(), vocab);
  for (const bool adds_bos : {false, true}) {
    data.bos_token_id = 1;
    data.add_bos_token = adds_bos;
    const Tokenizer got =
        Tokenizer::FromJson(Dump(TokenizerJson(data, "test")), {}, "tokenizer.json");
    ExpectSame(got, Tokenizer::FromGguf(data, "test"));
  }
}

}  // namespace
}  // namespace sophia::io::tokenizer_test
