#include <gtest/gtest.h>

#include <vector>

#include "sophia/io/tokenizer_for_test.h"

namespace sophia::io::tokenizer_test {
namespace {

// Also where normalizers compose, decompose, add and drop characters.
TEST(TokenizerOffsetsTest, EqualTokenizersLibrary) {
  const Json expected = Fixture("offsets.json");
  for (const auto& [variant, lines] : expected.items()) {
    const Tokenizer tokenizer = Load(variant);
    for (size_t i = 0; i < Corpus().size(); ++i) {
      std::vector<uint32_t> offsets;
      for (const Token& token : tokenizer.EncodeWithOffsets(Corpus()[i])) {
        offsets.insert(offsets.end(), {token.begin, token.end});
      }
      EXPECT_EQ(offsets, lines[i].get<std::vector<uint32_t>>())
          << variant << ", line " << i + 1 << ": " << Corpus()[i];
    }
  }
}

TEST(TokenizerOffsetsTest, AddedSpecialTokensStandForNoText) {
  const std::vector<Token> tokens =
      Load("llama2").EncodeWithOffsets("a", {.add_special_tokens = true});
  ASSERT_EQ(tokens.size(), 3u);
  EXPECT_EQ(tokens[0].end, 0u);
  EXPECT_EQ(tokens[1].end, 1u);
  EXPECT_EQ(tokens[2].begin, 0u);
  EXPECT_EQ(tokens[2].end, 0u);
}

}  // namespace
}  // namespace sophia::io::tokenizer_test
