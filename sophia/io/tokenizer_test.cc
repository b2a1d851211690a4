#include "sophia/io/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "sophia/base/error_for_test.h"
#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/base/strings.h"
#include "sophia/io/gguf.h"
#include "sophia/io/tokenizer_for_test.h"

namespace sophia::io::tokenizer_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

// Compares with what tools/oracle/tokenizer_fixtures.py wrote for each line of the corpus.
void ExpectCases(const Tokenizer& tokenizer, const Json& expected) {
  const std::vector<std::string>& corpus = Corpus();
  const Json& cases = expected.at("cases");
  ASSERT_EQ(cases.size(), corpus.size());
  const Ids before = ToIds(expected.at("around")[0]);
  const Ids after = ToIds(expected.at("around")[1]);
  for (size_t i = 0; i < corpus.size(); ++i) {
    const std::string& text = corpus[i];
    SCOPED_TRACE(fmt::format("line {}: {}", i + 1, text));
    const Ids ids = ToIds(cases[i].at("ids"));
    EXPECT_EQ(tokenizer.Encode(text), ids);
    const Ids plain = cases[i].contains("plain") ? ToIds(cases[i].at("plain")) : ids;
    EXPECT_EQ(tokenizer.Encode(text, {.parse_special = false}), plain);

    Ids framed = before;
    framed.insert(framed.end(), ids.begin(), ids.end());
    framed.insert(framed.end(), after.begin(), after.end());
    EXPECT_EQ(tokenizer.Encode(text, {.add_special_tokens = true}), framed);

    const auto decoded = FindOr<std::string>(cases[i], "decoded", text, "case");
    const auto skipped = FindOr<std::string>(cases[i], "skipped", decoded, "case");
    EXPECT_EQ(tokenizer.Decode(ids), decoded);
    EXPECT_EQ(tokenizer.Decode(ids, {.skip_special_tokens = true}), skipped);
  }
}

class TokenizerVariantTest : public ::testing::TestWithParam<std::string> {};

TEST_P(TokenizerVariantTest, EqualsTokenizersLibrary) {
  ExpectCases(Load(GetParam()), Fixture(GetParam() + ".expected.json"));
}

TEST_P(TokenizerVariantTest, StreamsTheSameText) {
  const Tokenizer tokenizer = Load(GetParam());
  for (const std::string& text : Corpus()) {
    const Ids ids = tokenizer.Encode(text);
    for (const bool skip : {false, true}) {
      const DecodeOptions options = {.skip_special_tokens = skip};
      EXPECT_EQ(Stream(tokenizer, ids, options), tokenizer.Decode(ids, options)) << text;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, TokenizerVariantTest,
                         ::testing::Values("gpt2", "gpt2_prefix_space", "smollm", "llama3", "qwen2",
                                           "gpt4o", "deepseek3", "llama2", "metaspace_first",
                                           "metaspace_always", "unk_fused", "unk_single",
                                           "behaviors"),
                         [](const auto& info) { return info.param; });

Tokenizer LoadSmolLm2() {
  const auto path =
      std::filesystem::path(SOPHIA_DEPS_DIR) / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf";
  return Tokenizer::FromGguf(ReadGgufTokenizer(GgufFile(path).metadata()), path.string());
}

TEST(TokenizerTest, SmolLm2FromGgufEqualsTokenizersLibrary) {
  const Tokenizer tokenizer = LoadSmolLm2();
  ExpectCases(tokenizer, Fixture("smollm2.expected.json"));
  EXPECT_EQ(tokenizer.vocab_size(), 49152);
  EXPECT_EQ(tokenizer.bos_id(), 1);
  EXPECT_EQ(tokenizer.eos_id(), 2);
  EXPECT_EQ(tokenizer.pad_id(), 2);
  EXPECT_EQ(tokenizer.unk_id(), 0);
  EXPECT_THAT(tokenizer.eos_ids(), ElementsAre(2));
  EXPECT_FALSE(tokenizer.adds_bos());
  EXPECT_EQ(tokenizer.TokenText(1), "<|im_start|>");
  EXPECT_EQ(tokenizer.TokenText(49152), std::nullopt);
  ASSERT_TRUE(tokenizer.chat_template().has_value());
  EXPECT_THAT(*tokenizer.chat_template(), HasSubstr("<|im_start|>"));
}

GgufTokenizerData SentencePieceData(const Json& json) {
  GgufTokenizerData data;
  data.model = "llama";
  data.tokens = json.at("tokens").get<std::vector<std::string>>();
  data.scores = json.at("scores").get<std::vector<float>>();
  data.token_types = json.at("token_types").get<std::vector<int32_t>>();
  data.bos_token_id = json.at("bos").get<int64_t>();
  data.eos_token_id = json.at("eos").get<int64_t>();
  data.unknown_token_id = json.at("unk").get<int64_t>();
  return data;
}

TEST(TokenizerTest, SentencePieceFromGgufEqualsSentencePiece) {
  const Json expected = Fixture("sentencepiece.json");
  const Tokenizer tokenizer = Tokenizer::FromGguf(SentencePieceData(expected), "test");
  for (size_t i = 0; i < Corpus().size(); ++i) {
    const Json& one = expected.at("cases")[i];
    if (one.is_null()) continue;
    SCOPED_TRACE(Corpus()[i]);
    const Ids ids = ToIds(one.at("plain"));
    EXPECT_EQ(tokenizer.Encode(Corpus()[i], {.parse_special = false}), ids);
    EXPECT_EQ(tokenizer.Decode(ids), Require<std::string>(one, "decoded", "case"));
  }
  EXPECT_TRUE(tokenizer.adds_bos());
  const int32_t bos = *tokenizer.bos_id();
  EXPECT_EQ(tokenizer.Encode("", {.add_special_tokens = true}), Ids{bos});
  EXPECT_THAT(tokenizer.Encode("<s></s>"), ElementsAre(bos, *tokenizer.eos_id()));
}

// tokenizer.json's model, spelled as GGUF metadata.
GgufTokenizerData AsGguf(const Json& json, std::string_view pre) {
  GgufTokenizerData data;
  data.model = "gpt2";
  data.pre = pre;
  const Json& vocab = json.at("model").at("vocab");
  data.tokens.resize(vocab.size());
  data.token_types.assign(vocab.size(), 1);
  for (const auto& [token, id] : vocab.items()) data.tokens.at(id.get<size_t>()) = token;
  for (const Json& merge : json.at("model").at("merges")) {
    data.merges.push_back(merge.is_string() ? merge.get<std::string>()
                                            : Join(merge.get<std::vector<std::string>>(), " "));
  }
  for (const Json& token : json.at("added_tokens")) data.token_types.at(token.at("id")) = 3;
  return data;
}

TEST(TokenizerTest, GgufPreNamesStandForPublishedPatterns) {
  const std::pair<const char*, const char*> pairs[] = {{"smollm", "smollm"},
                                                       {"llama-bpe", "llama3"},
                                                       {"qwen2", "qwen2"},
                                                       {"gpt-4o", "gpt4o"},
                                                       {"deepseek-v3", "deepseek3"}};
  for (const auto& [pre, variant] : pairs) {
    SCOPED_TRACE(pre);
    const Json json = Fixture(std::string(variant) + ".json");
    const Tokenizer tokenizer = Tokenizer::FromGguf(AsGguf(json, pre), "test");
    Json expected = Fixture(std::string(variant) + ".expected.json");
    expected["around"] = Json::array({Json::array(), Json::array()});
    ExpectCases(tokenizer, expected);
  }
}

TEST(TokenizerTest, DefaultPreSplitsPunctuationAndDigits) {
  const Json json = Fixture("smollm.json");
  const Tokenizer tokenizer = Tokenizer::FromGguf(AsGguf(json, ""), "test");
  const Tokenizer named = Tokenizer::FromGguf(AsGguf(json, "default"), "test");
  const std::string text = "a sum: 12345=12345";
  EXPECT_EQ(tokenizer.Encode(text), named.Encode(text));
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text)), text);
}

TEST(TokenizerTest, InvalidUtf8IsReplaced) {
  const Tokenizer tokenizer = Load("smollm");
  for (const Json& sample : Fixture("invalid_utf8.json")) {
    std::string bytes;
    const auto hex = Require<std::string>(sample, "hex", "");
    for (size_t i = 0; i < hex.size(); i += 2) {
      bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    const auto text = Require<std::string>(sample, "text", "");
    EXPECT_EQ(tokenizer.Encode(bytes), tokenizer.Encode(text)) << hex;
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(bytes)), text) << hex;
  }
}

TEST(TokenizerTest, StreamHoldsBackIncompleteCharacters) {
  const Tokenizer tokenizer = Load("smollm");
  const std::string text = "\u1FFE";
  const Ids ids = tokenizer.Encode(text);
  ASSERT_EQ(ids.size(), 3u);
  StreamDecoder stream(tokenizer);
  EXPECT_EQ(stream.Push(ids[0]), "");
  EXPECT_EQ(stream.Push(ids[1]), "");
  EXPECT_EQ(stream.Push(ids[2]), text);
  EXPECT_EQ(stream.Push(ids[0]), "");
  EXPECT_EQ(stream.Finish(), "\uFFFD");
  EXPECT_EQ(stream.Finish(), "");
}

TEST(TokenizerTest, DecodeSkipsIdsWithoutToken) {
  const Tokenizer tokenizer = Load("smollm");
  Ids ids = tokenizer.Encode("ab");
  ids.insert(ids.begin(), {-5, tokenizer.vocab_size(), 1 << 30});
  EXPECT_EQ(tokenizer.Decode(ids), "ab");
}

class FolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::copy_file(kFixtures / "llama3.json", folder_.path() / "tokenizer.json");
  }
  void Write(const char* name, std::string_view text) { WriteFile(folder_.path() / name, text); }
  Tokenizer Open() { return Tokenizer::FromFolder(folder_.path()); }

  TemporaryFolder folder_;
};

TEST_F(FolderTest, TokenizerJsonAlone) {
  const Tokenizer tokenizer = Open();
  EXPECT_EQ(tokenizer.bos_id(), std::nullopt);
  EXPECT_EQ(tokenizer.chat_template(), std::nullopt);
  EXPECT_THAT(tokenizer.eos_ids(), IsEmpty());
  EXPECT_THAT(tokenizer.Encode("", {.add_special_tokens = true}), ElementsAre(0));
}

TEST_F(FolderTest, ReadsConfigFiles) {
  Write("tokenizer_config.json",
        R"({"bos_token": "<s>", "pad_token": {"content": "</s>"}, "unk_token": null,
            "chat_template": [{"name": "tools", "template": "t"},
                              {"name": "default", "template": "d"}]})");
  Write("special_tokens_map.json", R"({"bos_token": "</s>", "eos_token": {"content": "</s>"}})");
  Write("generation_config.json", R"({"eos_token_id": [1, 5]})");
  const Tokenizer tokenizer = Open();
  EXPECT_EQ(tokenizer.bos_id(), 0);
  EXPECT_EQ(tokenizer.eos_id(), 1);
  EXPECT_EQ(tokenizer.pad_id(), 1);
  EXPECT_EQ(tokenizer.unk_id(), std::nullopt);
  EXPECT_THAT(tokenizer.eos_ids(), ElementsAre(1, 5));
  EXPECT_EQ(tokenizer.chat_template(), "d");
  EXPECT_TRUE(tokenizer.adds_bos());
}

TEST_F(FolderTest, TemplateFileComesFirst) {
  Write("tokenizer_config.json", R"({"chat_template": "old"})");
  Write("chat_template.jinja", "new");
  EXPECT_EQ(Open().chat_template(), "new");
}

TEST_F(FolderTest, FlagsOverrideThePostProcessor) {
  Write("tokenizer_config.json", R"({"bos_token": "<s>", "eos_token": "</s>",
                                     "add_bos_token": false, "add_eos_token": true})");
  const Tokenizer tokenizer = Open();
  EXPECT_FALSE(tokenizer.adds_bos());
  EXPECT_THAT(tokenizer.Encode("", {.add_special_tokens = true}), ElementsAre(1));
}

TEST_F(FolderTest, NamesWhatIsWrong) {
  Write("tokenizer_config.json", R"({"bos_token": "<nope>"})");
  EXPECT_THAT([&] { Open(); },
              ThrowsMessage<Error>(HasSubstr("expected bos_token '<nope>' in the vocabulary")));
  Write("tokenizer_config.json", R"({"add_bos_token": true})");
  EXPECT_THAT([&] { Open(); }, ThrowsMessage<Error>(HasSubstr("expected a BOS token")));
  Write("tokenizer_config.json", R"({"add_bos_token": "yes"})");
  EXPECT_THAT([&] { Open(); }, ThrowsMessage<Error>(HasSubstr("tokenizer_config.json")));
  Write("tokenizer_config.json", "{}");
  Write("generation_config.json", R"({"eos_token_id": 99999})");
  EXPECT_THAT([&] { Open(); }, ThrowsMessage<Error>(HasSubstr("99999")));
  Write("tokenizer.json", R"({"model": )");
  EXPECT_THAT([&] { Open(); }, ThrowsMessage<Error>(HasSubstr("expected valid JSON")));
  std::filesystem::remove(folder_.path() / "tokenizer.json");
  EXPECT_THAT([&] { Open(); }, ThrowsMessage<Error>(HasSubstr("tokenizer.json")));
}

struct BadCase {
  const char* patch;  // RFC 7386, over a small valid tokenizer.json
  const char* message;
};

TEST(TokenizerTest, UnsupportedAndMalformedPartsAreNamed) {
  const Json valid = ParseJson(R"({"version": "1.0", "added_tokens": [],
      "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})",
                               "test");
  const BadCase cases[] = {
      {R"({"model": {"type": "Unigram"}})", "unsupported 'Unigram'"},
      {R"({"model": {"dropout": 0.1}})", "dropout"},
      {R"({"model": {"end_of_word_suffix": "</w>"}})", "end_of_word_suffix"},
      {R"({"model": {"continuing_subword_prefix": "@@"}})", "continuing_subword_prefix"},
      {R"({"model": {"merges": ["a c"]}})", "expected 'c' of merge 'a c'"},
      {R"({"model": {"merges": ["b a"]}})", "expected 'ba' of merge 'b a'"},
      {R"({"model": {"merges": ["ab"]}})", "expected a merge 'left right', got 'ab'"},
      {R"({"model": {"merges": [["a"]]}})", "pair of strings"},
      {R"({"model": {"merges": null}})", "expected 'merges' to be a list"},
      {R"({"model": {"vocab": {"c": -1}}})", "expected a token id, got -1"},
      {R"({"model": {"vocab": {"c": 0}}})", "expected each id once"},
      {R"({"model": {"vocab": {"c": "x"}}})", "to be an integer"},
      {R"({"model": null})", "'model'"},
      {R"({"version": "2.0"})", "expected version 1.0"},
      {R"({"normalizer": {"type": "Precompiled"}})", "unsupported normalizer 'Precompiled'"},
      {R"({"normalizer": {"type": "Strip", "strip_left": true}})", "strip_right"},
      {R"({"pre_tokenizer": {"type": "UnicodeScripts"}})", "unsupported pre-tokenizer"},
      {R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated",
           "invert": false}})",
       "expected a regular expression, got '('"},
      {R"({"pre_tokenizer": {"type": "Split", "pattern": {"String": "x"}, "behavior": "Other",
           "invert": false}})",
       "expected behavior"},
      {R"({"pre_tokenizer": {"type": "Metaspace", "replacement": "xy"}})", "one character"},
      {R"({"decoder": {"type": "CTC"}})", "unsupported decoder 'CTC'"},
      {R"({"post_processor": {"type": "RobertaProcessing"}})", "unsupported post-processor"},
      {R"({"post_processor": {"type": "TemplateProcessing", "single": [], "special_tokens": {}}})",
       "sequence A once"},
      {R"({"added_tokens": [{"id": 3}]})", "'content'"},
      {R"({"added_tokens": 7})", "'added_tokens'"},
  };
  EXPECT_NO_THROW(Tokenizer::FromJson(valid.dump(), {}, "x.json"));
  for (const BadCase& bad : cases) {
    SCOPED_TRACE(bad.patch);
    Json json = valid;
    json.merge_patch(ParseJson(bad.patch, "patch"));
    EXPECT_THAT(
        [&] { Tokenizer::FromJson(json.dump(), {}, "x.json"); },
        ThrowsMessage<Error>(::testing::AllOf(HasSubstr("[x.json"), HasSubstr(bad.message))));
  }
}

TEST(TokenizerTest, UnknownTokenMustBeInTheVocabularyWhenNeeded) {
  const Tokenizer tokenizer = Tokenizer::FromJson(
      R"({"model": {"vocab": {"a": 0}, "merges": [], "unk_token": "<unk>"}})", {}, "x.json");
  EXPECT_EQ(tokenizer.Encode("a"), Ids{0});
  EXPECT_THAT([&] { tokenizer.Encode("b"); }, ThrowsMessage<Error>(HasSubstr("unk_token '<unk>'")));
}

TEST(TokenizerTest, BadGgufMetadataIsNamed) {
  const GgufTokenizerData valid = AsGguf(Fixture("smollm.json"), "smollm");
  const auto message = [&](const auto& change) {
    GgufTokenizerData data = valid;
    change(data);
    return MessageOf([&] { Tokenizer::FromGguf(data, "x.gguf"); });
  };
  EXPECT_THAT(message([](auto& d) { d.model = "bert"; }), HasSubstr("unsupported 'bert'"));
  EXPECT_THAT(message([](auto& d) { d.pre = "smolm"; }), HasSubstr("did you mean 'smollm'"));
  EXPECT_THAT(message([](auto& d) { d.tokens.clear(); }), HasSubstr("tokenizer.ggml.tokens"));
  EXPECT_THAT(message([](auto& d) { d.merges.clear(); }), HasSubstr("tokenizer.ggml.merges"));
  EXPECT_THAT(message([](auto& d) { d.merges[0] = "ab"; }), HasSubstr("got 'ab'"));
  EXPECT_THAT(message([](auto& d) { d.token_types.pop_back(); }), HasSubstr("token types"));
  EXPECT_THAT(message([](auto& d) { d.tokens[5] = d.tokens[4]; }), HasSubstr("once"));
  EXPECT_THAT(message([](auto& d) { d.tokens[5] = "\xff"; }), HasSubstr("UTF-8"));
  EXPECT_THAT(message([](auto& d) { d.bos_token_id = 1 << 20; }), HasSubstr("bos_token_id"));
  EXPECT_THAT(message([](auto& d) { d.add_bos_token = true; }), HasSubstr("BOS"));
  EXPECT_THAT(message([](auto& d) { d.model = "llama"; }), HasSubstr("scores"));
}

}  // namespace
}  // namespace sophia::io::tokenizer_test
