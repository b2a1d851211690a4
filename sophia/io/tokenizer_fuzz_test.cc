#include <gtest/gtest.h>

#include <iterator>
#include <string>
#include <vector>

#include "sophia/base/error.h"
#include "sophia/base/json.h"
#include "sophia/io/fuzz_for_test.h"
#include "sophia/io/tokenizer.h"
#include "sophia/io/tokenizer_for_test.h"

namespace sophia::io::tokenizer_test {
namespace {

// Replaces a random value somewhere in the tree by another one.
void ReplaceRandomValue(Json& json, const std::vector<Json>& values, Mutator& mutator) {
  Json* node = &json;
  while (node->is_structured() && !node->empty()) {
    auto child = node->begin();
    std::advance(child, mutator.Below(node->size()));
    node = &*child;
    if (mutator.Below(8) == 0) break;
  }
  *node = values[mutator.Below(values.size())];
}

constexpr const char* kParts[] = {"added_tokens", "normalizer", "pre_tokenizer", "post_processor",
                                  "decoder"};

class TokenizerFuzzTest : public ::testing::Test {
 protected:
  TokenizerFuzzTest() {
    for (const char* name : {"unk_single", "unk_fused", "llama2", "behaviors"}) {
      valid_.push_back(Fixture(std::string(name) + ".json"));
      Json& merges = valid_.back()["model"]["merges"];
      merges.erase(merges.begin() + 20, merges.end());
    }
  }

  // Whether the text loads and then encodes and decodes; anything but Error fails the test.
  bool Works(const std::string& text, Mutator& mutator) {
    try {
      const Tokenizer tokenizer = Tokenizer::FromJson(text, {}, "fuzz");
      const std::string& line = Corpus()[mutator.Below(Corpus().size())];
      tokenizer.Decode(tokenizer.Encode(line, {.add_special_tokens = true}));
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  std::vector<Json> valid_;
};

TEST_F(TokenizerFuzzTest, MutatedBytesGiveErrorsOnly) {
  const std::vector<std::string> fragments = {
      "null",   "[]", "{}",   "\"type\"", "\"Sequence\"",    "\"Regex\"",  "(?",
      "\\p{L}", "-1", "1e99", "\"\"",     "\"normalizer\":", "\"merges\"", "[[[[[[[["};
  Mutator mutator(7, fragments);
  for (int i = 0; i < 1500; ++i) {
    Works(mutator.Mutate(valid_[mutator.Below(valid_.size())].dump()), mutator);
  }
}

TEST_F(TokenizerFuzzTest, MutatedValuesGiveErrorsOnly) {
  const std::vector<Json> values = {nullptr,
                                    true,
                                    false,
                                    0,
                                    -1,
                                    int64_t{1} << 40,
                                    1e300,
                                    "",
                                    "a",
                                    " ",
                                    "▁",
                                    "(a*)*b",
                                    "\\p{L}+|",
                                    "[^",
                                    "Isolated",
                                    "Removed",
                                    "MergedWithNext",
                                    "MergedWithPrevious",
                                    "Contiguous",
                                    "Sequence",
                                    "ByteLevel",
                                    "Split",
                                    "Metaspace",
                                    "Strip",
                                    "Replace",
                                    "Fuse",
                                    Json::array(),
                                    Json::object(),
                                    Json{{"Regex", "a|"}},
                                    Json{{"String", ""}},
                                    Json{{"type", "Digits"}},
                                    Json{{"type", "NFD"}},
                                    Json{{"type", "Whitespace"}}};
  Mutator mutator(13);
  int works = 0;
  for (int i = 0; i < 1500; ++i) {
    Json json = valid_[mutator.Below(valid_.size())];
    Json& part = mutator.Below(4) == 0 ? json : json.at(kParts[mutator.Below(std::size(kParts))]);
    ReplaceRandomValue(part, values, mutator);
    if (Works(json.dump(), mutator)) ++works;
  }
  EXPECT_GT(works, 200);
}

TEST(TokenizerTextFuzzTest, RandomBytesEncode) {
  Mutator mutator(11, {"<|im_start|>", "\r\n", "\u0301", "\U0001F44D\U0001F3FD", "  "});
  const Tokenizer bytes = Load("smollm");
  const Tokenizer pieces = Load("llama2");
  for (int i = 0; i < 2000; ++i) {
    std::string text = Corpus()[mutator.Below(Corpus().size())];
    text = mutator.Mutate(mutator.Mutate(text));
    const Ids ids = bytes.Encode(text);
    const std::string decoded = bytes.Decode(ids);
    EXPECT_EQ(bytes.Encode(decoded), ids);
    EXPECT_EQ(Stream(bytes, ids, {}), decoded);
    const EncodeOptions plain = {.parse_special = false};
    const Ids other = pieces.Encode(text, plain);
    EXPECT_EQ(pieces.Encode(pieces.Decode(other), plain), other);
  }
}

}  // namespace
}  // namespace sophia::io::tokenizer_test
