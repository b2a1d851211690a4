#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/base/json.h"
#include "sophia/base/strings.h"
#include "sophia/io/tokenizer/json_parts.h"
#include "sophia/io/tokenizer/parts.h"

namespace sophia::io::tok {
namespace {

// Looks keys up in logarithmic time, which vocabularies need.
using BigJson = nlohmann::json;

constexpr int kDeepestJson = 128;
constexpr int64_t kLargestId = std::numeric_limits<int32_t>::max() - 1;

void CheckDepth(std::string_view text, std::string_view where) {
  int depth = 0;
  bool in_string = false;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\') ++at;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDeepestJson) {
        Fail(where, "expected at most {} nested lists and objects, got more", kDeepestJson);
      }
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
}

BigJson ParseBig(std::string_view text, std::string_view where) {
  CheckDepth(text, where);
  try {
    return BigJson::parse(text);
  } catch (const nlohmann::json::exception& error) {
    Fail(where, "expected valid JSON, got: {}", error.what());
  }
}

// Takes a member out of an object; null when it has none.
BigJson Take(BigJson& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end()) return nullptr;
  BigJson value = std::move(*it);
  object.erase(it);
  return value;
}

int32_t CheckId(int64_t id, std::string_view where) {
  if (id < 0 || id > kLargestId) Fail(where, "expected a token id, got {}", id);
  return static_cast<int32_t>(id);
}

Bpe::Vocabulary ParseVocabulary(const BigJson& vocab, std::string_view where) {
  if (!vocab.is_object())
    Fail(where, "expected 'vocab' to be an object, got {}", vocab.type_name());
  Bpe::Vocabulary vocabulary;
  vocabulary.reserve(vocab.size());
  for (const auto& [token, id] : vocab.items()) {
    if (!id.is_number_integer()) {
      Fail(where, "expected the id of token '{}' to be an integer, got {}", token, id.type_name());
    }
    vocabulary.emplace_back(token, CheckId(id.get<int64_t>(), where));
  }
  return vocabulary;
}

// Merges are "left right" strings or [left, right] pairs.
void ParseMerges(const BigJson& merges, std::string_view where, Bpe& bpe) {
  if (!merges.is_array()) Fail(where, "expected 'merges' to be a list, got {}", merges.type_name());
  uint32_t rank = 0;
  for (const BigJson& merge : merges) {
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      if (text.starts_with("#version")) continue;
      const std::vector<std::string> parts = Split(text, ' ');
      if (parts.size() != 2) Fail(where, "expected a merge 'left right', got '{}'", text);
      bpe.AddMerge(parts[0], parts[1], rank, where);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      bpe.AddMerge(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>(),
                   rank, where);
    } else {
      Fail(where, "expected a merge to be a string or a pair of strings, got {}",
           merge.type_name());
    }
    ++rank;
  }
}

Bpe ParseModel(BigJson model, std::string_view where) {
  if (!model.is_object()) Fail(where, "expected an object, got {}", model.type_name());
  const BigJson vocab = Take(model, "vocab");
  const BigJson merges = Take(model, "merges");
  const Json options(model);
  const auto type = FindOr<std::string>(options, "type", "BPE", where);
  if (type != "BPE") Fail(where, "expected a model of type BPE, got the unsupported '{}'", type);
  if (Find<double>(options, "dropout", where).value_or(0) != 0) {
    Fail(where, "expected dropout null or 0, got {}: not supported",
         *Find<double>(options, "dropout", where));
  }
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const auto mark = FindOr<std::string>(options, key, "", where);
    if (!mark.empty()) Fail(where, "expected no {}, got '{}': not supported", key, mark);
  }
  Bpe bpe(ParseVocabulary(vocab, where),
          {.unk_token = Find<std::string>(options, "unk_token", where),
           .fuse_unk = FindOr<bool>(options, "fuse_unk", false, where),
           .byte_fallback = FindOr<bool>(options, "byte_fallback", false, where),
           .ignore_merges = FindOr<bool>(options, "ignore_merges", false, where)},
          where);
  ParseMerges(merges, where, bpe);
  return bpe;
}

std::vector<AddedToken> ParseAddedTokens(const Json& root, std::string_view where) {
  std::vector<AddedToken> tokens;
  const auto it = root.find("added_tokens");
  if (it == root.end() || it->is_null()) return tokens;
  for (const Json& token : RequireList(root, "added_tokens", where)) {
    tokens.push_back({.content = Require<std::string>(token, "content", where),
                      .single_word = FindOr<bool>(token, "single_word", false, where),
                      .lstrip = FindOr<bool>(token, "lstrip", false, where),
                      .rstrip = FindOr<bool>(token, "rstrip", false, where),
                      .normalized = FindOr<bool>(token, "normalized", true, where),
                      .special = FindOr<bool>(token, "special", false, where)});
  }
  return tokens;
}

// Ids of a special token as a template lists them.
std::vector<int32_t> TemplateIds(const Json& processor, const std::string& name,
                                 std::string_view where) {
  const auto specials = processor.find("special_tokens");
  if (specials == processor.end() || !specials->is_object() || !specials->contains(name)) {
    Fail(where, "expected special token '{}' under 'special_tokens', got none", name);
  }
  std::vector<int32_t> ids;
  for (const int64_t id : Require<std::vector<int64_t>>((*specials)[name], "ids", where)) {
    ids.push_back(CheckId(id, where));
  }
  return ids;
}

void ParseTemplate(const Json& processor, std::string_view where, TokenizerParts& parts) {
  std::vector<int32_t> around[2];
  int sequences = 0;
  for (const Json& piece : RequireList(processor, "single", where)) {
    if (piece.is_object() && piece.contains("SpecialToken")) {
      const auto name = Require<std::string>(piece["SpecialToken"], "id", where);
      const std::vector<int32_t> ids = TemplateIds(processor, name, where);
      std::vector<int32_t>& side = around[sequences > 0 ? 1 : 0];
      side.insert(side.end(), ids.begin(), ids.end());
    } else if (piece.is_object() && piece.contains("Sequence") &&
               Require<std::string>(piece["Sequence"], "id", where) == "A") {
      ++sequences;
    } else {
      Fail(where, "expected a piece SpecialToken or Sequence A, got {}", Dump(piece).substr(0, 80));
    }
  }
  if (sequences != 1) Fail(where, "expected sequence A once in 'single', got {} times", sequences);
  parts.prefix.insert(parts.prefix.begin(), around[0].begin(), around[0].end());
  parts.suffix.insert(parts.suffix.end(), around[1].begin(), around[1].end());
}

void ParsePostProcessor(const Json& processor, std::string_view where, TokenizerParts& parts) {
  if (processor.is_null()) return;
  const auto type = Require<std::string>(processor, "type", where);
  if (type == "ByteLevel") return;  // changes offsets alone
  if (type == "TemplateProcessing") {
    ParseTemplate(processor, where, parts);
  } else if (type == "Sequence") {
    for (const Json& part : RequireList(processor, "processors", where)) {
      ParsePostProcessor(part, where, parts);
    }
  } else {
    Fail(where,
         "expected TemplateProcessing, ByteLevel or Sequence, got the unsupported post-processor "
         "'{}'",
         type);
  }
}

// The id of a token that must be in the vocabulary if it is named.
std::optional<int32_t> NamedId(const std::optional<std::string>& token, std::string_view what,
                               const TokenizerParts& parts, std::string_view where) {
  if (!token) return std::nullopt;
  const std::optional<int32_t> id = parts.Id(*token);
  if (!id) Fail(where, "expected {} '{}' in the vocabulary, got none", what, *token);
  return id;
}

void ApplyConfig(const TokenizerConfig& config, std::string_view where, TokenizerParts& parts) {
  parts.bos_id = NamedId(config.bos_token, "bos_token", parts, where);
  parts.eos_id = NamedId(config.eos_token, "eos_token", parts, where);
  if (config.pad_token) parts.pad_id = parts.Id(*config.pad_token);
  if (config.unk_token) parts.unk_id = parts.Id(*config.unk_token);
  if (parts.eos_id) parts.AddEosId(*parts.eos_id);
  for (const int64_t id : config.eos_token_ids) {
    const int32_t checked = CheckId(id, where);
    if (!parts.Text(checked)) Fail(where, "expected eos_token_id in the vocabulary, got {}", id);
    parts.AddEosId(checked);
  }
  if (!parts.eos_id && !parts.eos_ids.empty()) parts.eos_id = parts.eos_ids.front();
  if (config.add_bos_token) parts.SetAddBos(*config.add_bos_token, where);
  if (config.add_eos_token) parts.SetAddEos(*config.add_eos_token, where);
  parts.chat_template = config.chat_template;
}

}  // namespace

std::unique_ptr<TokenizerParts> PartsFromJson(std::string_view text, const TokenizerConfig& config,
                                              std::string_view where) {
  BigJson big = ParseBig(text, where);
  if (!big.is_object()) Fail(where, "expected an object, got {}", big.type_name());
  if (!big.contains("model")) Fail(where, "expected key 'model', got none");
  const std::string place(where);
  auto parts = std::make_unique<TokenizerParts>(ParseModel(Take(big, "model"), place + ": model"));
  const Json root(big);
  const auto version = FindOr<std::string>(root, "version", "1.0", where);
  if (version != "1.0") Fail(where, "expected version 1.0, got '{}'", version);
  const auto member = [&](const char* key) {
    const auto it = root.find(key);
    return it == root.end() ? Json() : *it;
  };
  parts->normalizer = ParseNormalizer(member("normalizer"), place + ": normalizer");
  parts->pre_tokenizer = ParsePreTokenizer(member("pre_tokenizer"), place + ": pre_tokenizer");
  parts->decoder = ParseDecoder(member("decoder"), place + ": decoder");
  parts->added.Add(ParseAddedTokens(root, place + ": added_tokens"), parts->bpe, parts->normalizer);
  ParsePostProcessor(member("post_processor"), place + ": post_processor", *parts);
  ApplyConfig(config, where, *parts);
  return parts;
}

}  // namespace sophia::io::tok
