#include "sophia/io/tokenizer/added_tokens.h"

#include <algorithm>

#include "sophia/io/tokenizer/utf8.h"

namespace sophia::io::tok {
namespace {

uint64_t ChildKey(uint32_t node, char byte) {
  return (static_cast<uint64_t>(node) << 8) | static_cast<unsigned char>(byte);
}

// Whether the character is one of UTS 18's \w.
bool IsWordCharacter(std::string_view character) {
  static const Regex kPattern(R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}])", "word");
  return !kPattern.FindAll(character).empty();
}

bool EndsWithWord(std::string_view text) {
  return !text.empty() && IsWordCharacter(text.substr(text.size() - LastCodePointSize(text)));
}

bool StartsWithWord(std::string_view text) {
  return !text.empty() && IsWordCharacter(text.substr(0, CodePointAt(text, 0).size));
}

// Bytes of white space at the end and at the start of a text.
size_t SpaceAtEnd(std::string_view text) {
  const size_t whole = text.size();
  while (!text.empty()) {
    const size_t size = LastCodePointSize(text);
    if (!IsWhiteSpace(CodePointAt(text, text.size() - size).value)) break;
    text.remove_suffix(size);
  }
  return whole - text.size();
}

size_t SpaceAtStart(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && IsWhiteSpace(CodePointAt(text, at).value)) {
    at += CodePointAt(text, at).size;
  }
  return at;
}

}  // namespace

void TextTrie::Insert(std::string_view text, int32_t value) {
  if (text.empty()) return;
  starts_[static_cast<unsigned char>(text[0])] = true;
  uint32_t node = 0;
  for (const char byte : text) {
    const auto [it, is_new] = children_.emplace(ChildKey(node, byte), nodes_);
    if (is_new) ++nodes_;
    node = it->second;
  }
  values_.emplace(node, value);
}

std::optional<TextTrie::Match> TextTrie::FindFrom(std::string_view text, size_t from) const {
  if (nodes_ == 1) return std::nullopt;
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<unsigned char>(text[begin])]) continue;
    std::optional<Match> longest;
    uint32_t node = 0;
    for (size_t at = begin; at < text.size(); ++at) {
      const auto child = children_.find(ChildKey(node, text[at]));
      if (child == children_.end()) break;
      node = child->second;
      const auto value = values_.find(node);
      if (value != values_.end()) longest = Match{{begin, at + 1}, value->second};
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

void AddedTokens::Add(const std::vector<AddedToken>& tokens, const Bpe& bpe,
                      const Normalizer& normalizer) {
  const auto vocabulary = static_cast<int32_t>(bpe.size());
  int32_t next = std::max(vocabulary, max_id() + 1);
  for (const AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    const std::optional<int32_t> known = Id(token.content);
    if (known && entries_.at(*known).token == token) continue;
    const std::optional<int32_t> in_vocabulary = known ? known : bpe.Id(token.content);
    const int32_t id = in_vocabulary ? *in_vocabulary : next++;
    Entry entry = {token, token.content};
    if (token.normalized && normalizer) {
      AlignedText text(token.content);
      normalizer(text);
      entry.text = text.text();
    }
    if (token.special) special_.insert(token.content);
    ids_[token.content] = id;
    entries_.insert_or_assign(id, std::move(entry));
  }
  raw_ = {};
  normalized_ = {};
  for (const auto& [id, entry] : entries_) {
    (entry.token.normalized ? normalized_ : raw_).Insert(entry.text, id);
  }
}

void AddedTokens::Extract(PieceList& pieces, const Normalizer& normalizer,
                          bool parse_special) const {
  Cut(pieces, raw_, parse_special);
  if (normalizer) {
    pieces.Rewrite([&](const AlignedView& piece, AlignedText& out) {
      AlignedText text;
      text.Append(piece);
      normalizer(text);
      out.Append(text.view());
    });
  }
  Cut(pieces, normalized_, parse_special);
}

void AddedTokens::Cut(PieceList& pieces, const TextTrie& trie, bool parse_special) const {
  pieces.Cut([&](std::string_view text, std::vector<Piece>& out) {
    size_t done = 0;
    size_t from = 0;
    while (const std::optional<TextTrie::Match> match = trie.FindFrom(text, from)) {
      auto [begin, end] = match->span;
      from = end;
      const AddedToken& token = entries_.at(match->value).token;
      if (!parse_special && special_.contains(token.content)) continue;
      if (token.single_word &&
          (EndsWithWord(text.substr(0, begin)) || StartsWithWord(text.substr(end)))) {
        continue;
      }
      if (token.lstrip) begin = std::max(begin - SpaceAtEnd(text.substr(0, begin)), done);
      if (token.rstrip) end += SpaceAtStart(text.substr(end));
      if (done < begin) out.push_back({done, begin});
      out.push_back({begin, end, match->value});
      done = end;
    }
    if (done != text.size()) out.push_back({done, text.size()});
  });
}

std::optional<int32_t> AddedTokens::Id(std::string_view content) const {
  const auto it = ids_.find(std::string(content));
  return it == ids_.end() ? std::nullopt : std::optional(it->second);
}

std::optional<std::string_view> AddedTokens::Text(int32_t id) const {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return std::nullopt;
  return it->second.text;
}

int32_t AddedTokens::max_id() const {
  int32_t largest = -1;
  for (const auto& [id, entry] : entries_) largest = std::max(largest, id);
  return largest;
}

}  // namespace sophia::io::tok
