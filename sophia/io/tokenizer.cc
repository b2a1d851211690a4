#include "sophia/io/tokenizer.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/strings.h"
#include "sophia/io/tokenizer/parts.h"
#include "sophia/io/tokenizer/utf8.h"

namespace sophia::io {
namespace tok {

std::optional<int32_t> TokenizerParts::Id(std::string_view token) const {
  const std::optional<int32_t> id = added.Id(token);
  return id ? id : bpe.Id(token);
}

std::optional<std::string_view> TokenizerParts::Text(int32_t id) const {
  const std::optional<std::string_view> text = added.Text(id);
  return text ? text : bpe.Text(id);
}

void TokenizerParts::SetAddBos(bool wanted, std::string_view where) {
  if (wanted && !bos_id) Fail(where, "expected a BOS token to add before a text, got none");
  if (wanted) {
    prefix = {*bos_id};
  } else if (bos_id) {
    std::erase(prefix, *bos_id);
  }
}

void TokenizerParts::SetAddEos(bool wanted, std::string_view where) {
  if (wanted && !eos_id) Fail(where, "expected an EOS token to add after a text, got none");
  if (wanted) {
    suffix = {*eos_id};
  } else if (eos_id) {
    std::erase(suffix, *eos_id);
  }
}

void TokenizerParts::AddEosId(int32_t id) {
  if (std::find(eos_ids.begin(), eos_ids.end(), id) == eos_ids.end()) eos_ids.push_back(id);
}

}  // namespace tok

Tokenizer::Tokenizer(std::shared_ptr<const tok::TokenizerParts> parts) : parts_(std::move(parts)) {}

Tokenizer Tokenizer::FromFolder(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "tokenizer.json";
  return FromJson(ReadFile(path), tok::ReadTokenizerConfig(folder), path.string());
}

Tokenizer Tokenizer::FromJson(std::string_view text, const TokenizerConfig& config,
                              std::string_view where) {
  return Tokenizer(tok::PartsFromJson(text, config, where));
}

Tokenizer Tokenizer::FromGguf(GgufTokenizerData data, std::string_view where) {
  return Tokenizer(tok::PartsFromGguf(std::move(data), where));
}

std::vector<int32_t> Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<int32_t> ids;
  for (const Token& token : EncodeWithOffsets(text, options)) ids.push_back(token.id);
  return ids;
}

std::vector<Token> Tokenizer::EncodeWithOffsets(std::string_view text,
                                                const EncodeOptions& options) const {
  tok::PieceList pieces(tok::ReplaceInvalidUtf8(text));
  parts_->added.Extract(pieces, parts_->normalizer, options.parse_special);
  if (parts_->pre_tokenizer) parts_->pre_tokenizer(pieces);

  std::vector<Token> tokens;
  tokens.reserve(pieces.pieces().size() + 2);
  const auto add_special = [&](const std::vector<int32_t>& ids) {
    if (!options.add_special_tokens) return;
    for (const int32_t id : ids) tokens.push_back({id, 0, 0});
  };
  const auto add = [&](int32_t id, std::span<const tok::Origin> origins) {
    tokens.push_back({id, origins.front().begin, origins.back().end});
  };
  add_special(parts_->prefix);
  const std::unique_lock lock(parts_->cache_mutex, std::try_to_lock);
  std::vector<tok::WordToken> made;
  for (const tok::Piece& piece : pieces.pieces()) {
    const auto [word, origins] = pieces.View(piece);
    if (piece.id != tok::kNoToken) {
      add(piece.id, origins);
      continue;
    }
    auto known = lock ? parts_->cache.Find(word) : std::nullopt;
    if (!known) {
      parts_->bpe.Tokenize(word, made);
      if (lock) parts_->cache.Insert(word, made);
      known = made;
    }
    for (const tok::WordToken& token : *known) {
      add(token.id, origins.subspan(token.begin, token.end - token.begin));
    }
  }
  add_special(parts_->suffix);
  return tokens;
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, const DecodeOptions& options) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    const std::optional<std::string_view> text = parts_->Text(id);
    if (!text || (options.skip_special_tokens && parts_->added.IsSpecial(*text))) continue;
    tokens.emplace_back(*text);
  }
  if (!parts_->decoder) return Join(tokens, " ");
  return Join(parts_->decoder(std::move(tokens)), "");
}

int32_t Tokenizer::vocab_size() const {
  return std::max(parts_->bpe.max_id(), parts_->added.max_id()) + 1;
}

std::optional<std::string> Tokenizer::TokenText(int32_t id) const {
  const std::optional<std::string_view> text = parts_->Text(id);
  return text ? std::optional<std::string>(*text) : std::nullopt;
}

std::optional<int32_t> Tokenizer::bos_id() const { return parts_->bos_id; }
std::optional<int32_t> Tokenizer::eos_id() const { return parts_->eos_id; }
std::optional<int32_t> Tokenizer::pad_id() const { return parts_->pad_id; }
std::optional<int32_t> Tokenizer::unk_id() const { return parts_->unk_id; }
const std::vector<int32_t>& Tokenizer::eos_ids() const { return parts_->eos_ids; }

bool Tokenizer::adds_bos() const {
  const auto& prefix = parts_->prefix;
  return parts_->bos_id && std::find(prefix.begin(), prefix.end(), *parts_->bos_id) != prefix.end();
}

const std::optional<std::string>& Tokenizer::chat_template() const { return parts_->chat_template; }

StreamDecoder::StreamDecoder(Tokenizer tokenizer, const DecodeOptions& options)
    : tokenizer_(std::move(tokenizer)), options_(options) {}

std::string StreamDecoder::Push(int32_t id) {
  ids_.push_back(id);
  const std::string text = tokenizer_.Decode(ids_, options_);
  if (text.size() <= shown_text_.size() || text.ends_with(tok::kReplacementCharacter)) return {};
  return Emit(text);
}

std::string StreamDecoder::Finish() {
  std::string rest = Emit(tokenizer_.Decode(ids_, options_));
  ids_.clear();
  shown_ = 0;
  shown_text_.clear();
  return rest;
}

// Decoders look at the tokens around a token, so the ids shown last stay in the window and the new
// text is what the whole window adds to their text.
std::string StreamDecoder::Emit(const std::string& text) {
  const std::span<const int32_t> held = std::span(ids_).subspan(shown_);
  std::string added = text.starts_with(shown_text_) ? text.substr(shown_text_.size())
                                                    : tokenizer_.Decode(held, options_);
  ids_.erase(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(shown_));
  shown_ = ids_.size();
  shown_text_ = tokenizer_.Decode(ids_, options_);
  return added;
}

}  // namespace sophia::io
