#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/io/tokenizer/gguf_pre.h"
#include "sophia/io/tokenizer/scored_merges.h"
#include "sophia/io/tokenizer_export.h"

namespace sophia::io {
namespace {

Json AddedTokens(const GgufTokenizerData& data) {
  Json added = Json::array();
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    const int32_t type = tok::TokenType(data, id);
    if (type != tok::kControlToken && type != tok::kUnknownToken &&
        type != tok::kUserDefinedToken) {
      continue;
    }
    added.push_back({{"id", id},
                     {"content", data.tokens[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", type != tok::kUserDefinedToken}});
  }
  return added;
}

Json ByteLevel() {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", false}};
}

Json Replace(const char* from, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

Json Split(const std::string& pattern) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

bool AddsBos(const GgufTokenizerData& data, bool by_default) {
  return data.bos_token_id && data.add_bos_token.value_or(by_default);
}

// Puts BOS, EOS or both around a text; null when neither is wanted.
Json PostProcessor(const GgufTokenizerData& data, bool bos_by_default) {
  Json single = Json::array();
  Json specials = Json::object();
  const auto add = [&](int64_t id) {
    const std::string& token = data.tokens.at(static_cast<size_t>(id));
    single.push_back({{"SpecialToken", {{"id", token}, {"type_id", 0}}}});
    specials[token] = {{"id", token}, {"ids", {id}}, {"tokens", {token}}};
  };
  if (AddsBos(data, bos_by_default)) add(*data.bos_token_id);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  if (data.eos_token_id && data.add_eos_token.value_or(false)) add(*data.eos_token_id);
  if (specials.empty()) return nullptr;
  Json pair = single;
  for (const Json& piece : single) {
    Json second = piece;
    second.begin().value()["type_id"] = 1;
    if (second.contains("Sequence")) second["Sequence"]["id"] = "B";
    pair.push_back(second);
  }
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", specials}};
}

Json Vocabulary(const GgufTokenizerData& data) {
  Json vocabulary = Json::object();
  // Appending skips the look-up of an ordered object, which is linear.
  auto& members = vocabulary.get_ref<Json::object_t&>();
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    members.Container::emplace_back(data.tokens[id], static_cast<int64_t>(id));
  }
  return vocabulary;
}

Json Model(const GgufTokenizerData& data, Json merges) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", false},
          {"vocab", Vocabulary(data)},
          {"merges", std::move(merges)}};
}

Json ByteLevelJson(const GgufTokenizerData& data, std::string_view where) {
  const tok::GgufPreRules rules =
      tok::FindGgufPreRules(data.pre.empty() ? "default" : data.pre, where);
  Json steps = Json::array();
  for (const std::string& pattern : rules.patterns) steps.push_back(Split(pattern));
  steps.push_back(ByteLevel());
  Json model = Model(data, data.merges);
  model["ignore_merges"] = rules.ignore_merges;
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", AddedTokens(data)},
          {"normalizer", rules.nfc ? Json{{"type", "NFC"}} : Json()},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", steps}}},
          {"post_processor", PostProcessor(data, rules.adds_bos)},
          {"decoder", ByteLevel()},
          {"model", model}};
}

Json SentencePieceJson(const GgufTokenizerData& data, std::string_view where) {
  Json merges = Json::array();
  for (const tok::ScoredMerge& merge : tok::ScoredMerges(data, where)) {
    merges.push_back(fmt::format("{} {}", merge.left, merge.right));
  }
  const bool add_space = data.add_space_prefix.value_or(true);
  Json normalizers = Json::array();
  if (add_space) normalizers.push_back({{"type", "Prepend"}, {"prepend", "▁"}});
  normalizers.push_back(Replace(" ", "▁"));
  Json decoders = {Replace("▁", " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
  if (add_space) {
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  Json model = Model(data, std::move(merges));
  model["fuse_unk"] = true;
  model["byte_fallback"] = true;
  if (data.unknown_token_id) {
    model["unk_token"] = data.tokens.at(static_cast<size_t>(*data.unknown_token_id));
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", AddedTokens(data)},
          {"normalizer", {{"type", "Sequence"}, {"normalizers", normalizers}}},
          {"pre_tokenizer", nullptr},
          {"post_processor", PostProcessor(data, true)},
          {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}},
          {"model", model}};
}

}  // namespace

Json TokenizerJson(const GgufTokenizerData& data, std::string_view where) {
  if (data.model == "gpt2") return ByteLevelJson(data, where);
  if (data.model == "llama") return SentencePieceJson(data, where);
  Fail(where, "expected tokenizer.ggml.model gpt2 or llama, got the unsupported '{}'", data.model);
}

Json TokenizerConfigJson(const GgufTokenizerData& data, int64_t max_positions) {
  Json config{{"tokenizer_class", "PreTrainedTokenizerFast"},
              {"model_max_length", max_positions},
              {"clean_up_tokenization_spaces", false}};
  const auto add = [&](const char* key, std::optional<int64_t> id) {
    if (id) config[key] = data.tokens.at(static_cast<size_t>(*id));
  };
  add("bos_token", data.bos_token_id);
  add("eos_token", data.eos_token_id);
  add("pad_token", data.padding_token_id);
  add("unk_token", data.unknown_token_id);
  if (data.chat_template) config["chat_template"] = *data.chat_template;
  return config;
}

}  // namespace sophia::io
