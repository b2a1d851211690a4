#include <utility>

#include "sophia/base/error.h"
#include "sophia/io/tokenizer/gguf_pre.h"
#include "sophia/io/tokenizer/parts.h"
#include "sophia/io/tokenizer/scored_merges.h"
#include "sophia/io/tokenizer/utf8.h"

namespace sophia::io::tok {
namespace {

// Checks sizes and texts and gives every token its id.
Bpe::Vocabulary MakeVocabulary(const GgufTokenizerData& data, std::string_view where) {
  const size_t size = data.tokens.size();
  if (size == 0) Fail(where, "expected tokenizer.ggml.tokens, got none");
  if (!data.token_types.empty() && data.token_types.size() != size) {
    Fail(where, "expected {} token types, got {}", size, data.token_types.size());
  }
  Bpe::Vocabulary vocabulary;
  vocabulary.reserve(size);
  for (size_t id = 0; id < size; ++id) {
    if (!IsValidUtf8(data.tokens[id])) {
      Fail(where, "expected tokens in valid UTF-8, got other bytes in token {}", id);
    }
    vocabulary.emplace_back(data.tokens[id], static_cast<int32_t>(id));
  }
  return vocabulary;
}

std::optional<int32_t> CheckedId(std::optional<int64_t> id, std::string_view what, size_t size,
                                 std::string_view where) {
  if (!id) return std::nullopt;
  if (*id < 0 || *id >= static_cast<int64_t>(size)) {
    Fail(where, "expected {} below {}, got {}", what, size, *id);
  }
  return static_cast<int32_t>(*id);
}

void ApplyMetadata(const GgufTokenizerData& data, bool adds_bos, std::string_view where,
                   TokenizerParts& parts) {
  const size_t size = data.tokens.size();
  std::vector<AddedToken> added;
  for (size_t id = 0; id < size; ++id) {
    const int32_t type = TokenType(data, id);
    if (type == kControlToken || type == kUnknownToken || type == kUserDefinedToken) {
      added.push_back({.content = data.tokens[id], .special = type != kUserDefinedToken});
    }
  }
  parts.added.Add(added, parts.bpe, parts.normalizer);
  parts.bos_id = CheckedId(data.bos_token_id, "bos_token_id", size, where);
  parts.eos_id = CheckedId(data.eos_token_id, "eos_token_id", size, where);
  parts.pad_id = CheckedId(data.padding_token_id, "padding_token_id", size, where);
  parts.unk_id = CheckedId(data.unknown_token_id, "unknown_token_id", size, where);
  if (parts.eos_id) parts.AddEosId(*parts.eos_id);
  const auto end_of_turn = CheckedId(data.eot_token_id, "eot_token_id", size, where);
  if (end_of_turn) parts.AddEosId(*end_of_turn);
  parts.SetAddBos(data.add_bos_token.value_or(adds_bos && parts.bos_id), where);
  parts.SetAddEos(data.add_eos_token.value_or(false), where);
  parts.chat_template = data.chat_template;
}

std::unique_ptr<TokenizerParts> ByteLevelParts(GgufTokenizerData data, std::string_view where) {
  const std::string name = data.pre.empty() ? "default" : data.pre;
  const GgufPre pre = FindGgufPre(name, where);
  auto parts = std::make_unique<TokenizerParts>(
      Bpe(MakeVocabulary(data, where), {.ignore_merges = pre.ignore_merges}, where));
  if (data.merges.empty()) Fail(where, "expected tokenizer.ggml.merges, got none");
  for (uint32_t rank = 0; rank < data.merges.size(); ++rank) {
    const std::string_view merge = data.merges[rank];
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos) {
      Fail(where, "expected a merge 'left right', got '{}'", merge);
    }
    parts->bpe.AddMerge(merge.substr(0, space), merge.substr(space + 1), rank, where);
  }
  parts->normalizer = pre.normalizer;
  parts->pre_tokenizer = pre.pre_tokenizer;
  parts->decoder = ByteLevelDecoder();
  ApplyMetadata(data, pre.adds_bos, where, *parts);
  return parts;
}

std::unique_ptr<TokenizerParts> SentencePieceParts(GgufTokenizerData data, std::string_view where) {
  BpeOptions options = {.fuse_unk = true, .byte_fallback = true};
  const auto unk = CheckedId(data.unknown_token_id, "unknown_token_id", data.tokens.size(), where);
  if (unk) options.unk_token = data.tokens[*unk];
  auto parts = std::make_unique<TokenizerParts>(Bpe(MakeVocabulary(data, where), options, where));
  for (const ScoredMerge& merge : ScoredMerges(data, where)) {
    parts->bpe.AddMerge(merge.left, merge.right, merge.rank, where);
  }
  const bool add_space = data.add_space_prefix.value_or(true);
  std::vector<Normalizer> steps;
  if (add_space) steps.push_back(PrependNormalizer("▁"));
  steps.push_back(ReplaceNormalizer(" ", "▁"));
  parts->normalizer = NormalizerSequence(std::move(steps));
  parts->decoder = SentencePieceDecoder(add_space);
  ApplyMetadata(data, true, where, *parts);
  return parts;
}

}  // namespace

std::unique_ptr<TokenizerParts> PartsFromGguf(GgufTokenizerData data, std::string_view where) {
  if (data.model == "gpt2") return ByteLevelParts(std::move(data), where);
  if (data.model == "llama") return SentencePieceParts(std::move(data), where);
  Fail(where, "expected tokenizer.ggml.model gpt2 or llama, got the unsupported '{}'", data.model);
}

}  // namespace sophia::io::tok
