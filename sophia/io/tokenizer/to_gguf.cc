#include <fmt/ranges.h>

#include <algorithm>
#include <unordered_map>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/io/gguf_writer.h"
#include "sophia/io/tokenizer/byte_level.h"
#include "sophia/io/tokenizer/gguf_pre.h"
#include "sophia/io/tokenizer/parts.h"
#include "sophia/io/tokenizer/scored_merges.h"
#include "sophia/io/tokenizer_export.h"

namespace sophia::io {
namespace {

// Looks keys up in logarithmic time, which vocabularies need.
using BigJson = nlohmann::json;

const BigJson& Member(const BigJson& object, const char* key) {
  static const BigJson kNone;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found == object.end() ? kNone : *found;
}

bool IsOf(const BigJson& component, std::string_view type) {
  return component.is_object() && component.value("type", "") == type;
}

// The steps of a Sequence, or the one component as a list.
std::vector<BigJson> Steps(const BigJson& component, const char* list) {
  if (component.is_null()) return {};
  if (!IsOf(component, "Sequence")) return {component};
  const BigJson& steps = Member(component, list);
  return {steps.begin(), steps.end()};
}

// The patterns by which a byte-level pre-tokenizer splits; nullopt for other components.
std::optional<std::vector<std::string>> PatternsOf(const BigJson& pre_tokenizer) {
  std::vector<std::string> patterns;
  for (const BigJson& step : Steps(pre_tokenizer, "pretokenizers")) {
    if (IsOf(step, "Split")) {
      const BigJson& regex = Member(Member(step, "pattern"), "Regex");
      if (!regex.is_string() || step.value("behavior", "") != "Isolated") return std::nullopt;
      patterns.push_back(regex.get<std::string>());
    } else if (IsOf(step, "Digits") && step.value("individual_digits", false)) {
      patterns.emplace_back(R"(\p{N})");
    } else if (IsOf(step, "ByteLevel") && !step.value("add_prefix_space", true)) {
      if (step.value("use_regex", true)) patterns.emplace_back(tok::kGpt2Pattern);
    } else {
      return std::nullopt;
    }
  }
  return patterns;
}

bool HasStep(const BigJson& component, const char* list, std::string_view type) {
  return std::ranges::any_of(Steps(component, list),
                             [&](const BigJson& step) { return IsOf(step, type); });
}

std::vector<std::string> MergeTexts(const BigJson& model) {
  std::vector<std::string> merges;
  for (const BigJson& merge : Member(model, "merges")) {
    merges.push_back(merge.is_string()
                         ? merge.get<std::string>()
                         : merge.at(0).get<std::string>() + " " + merge.at(1).get<std::string>());
  }
  return merges;
}

// SentencePiece scores whose order is that of the merges: minus the rank of the first that makes
// the token, then the tokens that no merge makes.
std::vector<float> ScoresOf(const GgufTokenizerData& data, const std::vector<std::string>& merges) {
  std::unordered_map<std::string, float> ranks;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    std::string text = merges[rank];
    text.erase(text.find(' ', 1), 1);
    ranks.emplace(std::move(text), -static_cast<float>(rank));
  }
  std::vector<float> scores;
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    const auto found = ranks.find(data.tokens[id]);
    const bool is_text = tok::TokenType(data, id) == tok::kNormalToken;
    const float none = is_text ? -static_cast<float>(merges.size()) : 0.0f;
    scores.push_back(found == ranks.end() ? none : found->second);
  }
  return scores;
}

bool IsByte(std::string_view token) {
  return token.size() == 6 && token.starts_with("<0x") && token.back() == '>';
}

// Tokens and their types by id.
void FillTokens(const BigJson& root, int64_t vocab, std::string_view where,
                GgufTokenizerData& data) {
  const auto size = static_cast<size_t>(vocab);
  data.tokens.resize(size);
  data.token_types.assign(size, tok::kUnusedToken);
  const auto put = [&](const std::string& token, int64_t id, int32_t type) {
    if (id < 0 || id >= vocab) {
      Fail(where, "expected token ids below the embedding's {}, got {}", vocab, id);
    }
    data.tokens[static_cast<size_t>(id)] = token;
    data.token_types[static_cast<size_t>(id)] = type;
  };
  const bool has_bytes = Member(Member(root, "model"), "byte_fallback") == true;
  for (const auto& [token, id] : Member(Member(root, "model"), "vocab").items()) {
    put(token, id.get<int64_t>(), has_bytes && IsByte(token) ? tok::kByteToken : tok::kNormalToken);
  }
  for (const BigJson& token : Member(root, "added_tokens")) {
    put(token.at("content").get<std::string>(), token.at("id").get<int64_t>(),
        token.value("special", false) ? tok::kControlToken : tok::kUserDefinedToken);
  }
  for (size_t id = 0; id < size; ++id) {
    if (data.token_types[id] == tok::kUnusedToken) data.tokens[id] = fmt::format("[PAD{}]", id);
  }
}

// What stands before or after a text must be the one token that GGUF can put there.
std::optional<int64_t> Frame(const std::vector<int32_t>& ids, std::optional<int32_t> named,
                             std::string_view what, std::string_view where) {
  if (ids.empty()) return named;
  if (ids.size() > 1 || named.value_or(ids[0]) != ids[0]) {
    Fail(where, "expected the {} token alone around a text, as in GGUF, got ids {}", what,
         fmt::join(ids, ", "));
  }
  return ids[0];
}

void FillSpecials(const tok::TokenizerParts& parts, std::string_view where,
                  GgufTokenizerData& data) {
  data.bos_token_id = Frame(parts.prefix, parts.bos_id, "BOS", where);
  data.eos_token_id = Frame(parts.suffix, parts.eos_id, "EOS", where);
  data.padding_token_id = parts.pad_id;
  data.unknown_token_id = parts.unk_id;
  if (parts.eos_ids.size() > 1) data.eot_token_id = parts.eos_ids[1];
  data.add_bos_token = !parts.prefix.empty();
  data.add_eos_token = !parts.suffix.empty();
  data.chat_template = parts.chat_template;
}

}  // namespace

GgufTokenizerData GgufTokenizerFromFolder(const std::filesystem::path& folder, int64_t vocab) {
  const std::filesystem::path path = folder / "tokenizer.json";
  const std::string where = path.string();
  const std::string text = ReadFile(path);
  const auto parts = tok::PartsFromJson(text, tok::ReadTokenizerConfig(folder), where);
  const BigJson root = BigJson::parse(text);
  const BigJson& model = Member(root, "model");
  GgufTokenizerData data;
  FillTokens(root, vocab, where, data);
  FillSpecials(*parts, where, data);
  const std::vector<std::string> merges = MergeTexts(model);
  if (model.value("byte_fallback", false)) {
    data.model = "llama";
    data.scores = ScoresOf(data, merges);
    data.add_space_prefix = HasStep(Member(root, "normalizer"), "normalizers", "Prepend") ||
                            HasStep(Member(root, "pre_tokenizer"), "pretokenizers", "Metaspace");
    if (data.unknown_token_id) {
      data.token_types[static_cast<size_t>(*data.unknown_token_id)] = tok::kUnknownToken;
    }
    return data;
  }
  data.model = "gpt2";
  data.merges = merges;
  const auto patterns = PatternsOf(Member(root, "pre_tokenizer"));
  const bool nfc = IsOf(Member(root, "normalizer"), "NFC");
  const auto name = patterns ? tok::GgufPreName(*patterns, model.value("ignore_merges", false), nfc)
                             : std::nullopt;
  if (!name) {
    Fail(where, "expected a pre-tokenizer that has a name in GGUF, got {}",
         Member(root, "pre_tokenizer").dump().substr(0, 120));
  }
  data.pre = *name;
  return data;
}

std::vector<GgufEntry> GgufTokenizerEntries(const GgufTokenizerData& data) {
  std::vector<GgufEntry> entries = {{"tokenizer.ggml.model", GgufText(data.model)}};
  const auto add = [&](const char* key, GgufValue value) {
    entries.push_back({std::string("tokenizer.") + key, std::move(value)});
  };
  if (!data.pre.empty()) add("ggml.pre", GgufText(data.pre));
  add("ggml.tokens", GgufTexts(data.tokens));
  if (!data.scores.empty()) {
    add("ggml.scores", GgufNumbers({data.scores.begin(), data.scores.end()}));
  }
  if (!data.token_types.empty()) {
    add("ggml.token_type", GgufIntegers({data.token_types.begin(), data.token_types.end()}));
  }
  if (!data.merges.empty()) add("ggml.merges", GgufTexts(data.merges));
  const auto add_id = [&](const char* key, std::optional<int64_t> id) {
    if (id) add(key, GgufCount(static_cast<uint64_t>(*id)));
  };
  add_id("ggml.bos_token_id", data.bos_token_id);
  add_id("ggml.eos_token_id", data.eos_token_id);
  add_id("ggml.eot_token_id", data.eot_token_id);
  add_id("ggml.padding_token_id", data.padding_token_id);
  add_id("ggml.unknown_token_id", data.unknown_token_id);
  const auto add_flag = [&](const char* key, std::optional<bool> flag) {
    if (flag) add(key, GgufFlag(*flag));
  };
  add_flag("ggml.add_bos_token", data.add_bos_token);
  add_flag("ggml.add_eos_token", data.add_eos_token);
  add_flag("ggml.add_space_prefix", data.add_space_prefix);
  if (data.chat_template) add("chat_template", GgufText(*data.chat_template));
  return entries;
}

}  // namespace sophia::io
