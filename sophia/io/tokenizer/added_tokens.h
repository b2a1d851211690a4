#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "sophia/io/tokenizer/bpe.h"
#include "sophia/io/tokenizer/normalizer.h"
#include "sophia/io/tokenizer/pieces.h"

namespace sophia::io::tok {

// A token found in the text before any splitting, as listed under "added_tokens".
struct AddedToken {
  std::string content;
  bool single_word = false;  // not inside a longer word
  bool lstrip = false;       // swallows white space before it
  bool rstrip = false;       // swallows white space after it
  bool normalized = false;   // looked for in the normalised text
  bool special = false;      // control token: skipped in decoding, plain text if not parse_special

  bool operator==(const AddedToken&) const = default;
};

// Finds the longest of a set of texts at each place.
class TextTrie {
 public:
  // The first value stays when a text is inserted twice.
  void Insert(std::string_view text, int32_t value);

  struct Match {
    Span span;
    int32_t value;
  };
  // The leftmost match at or after `from`; the longest one there.
  std::optional<Match> FindFrom(std::string_view text, size_t from) const;

 private:
  std::unordered_map<uint64_t, uint32_t> children_;  // (node, byte) -> node; node 0 is the root
  std::unordered_map<uint32_t, int32_t> values_;
  bool starts_[256] = {};
  uint32_t nodes_ = 1;
};

class AddedTokens {
 public:
  // Adds tokens in order. A token that the vocabulary holds keeps its id, others get the ids after
  // the largest one.
  void Add(const std::vector<AddedToken>& tokens, const Bpe& bpe, const Normalizer& normalizer);

  // Cuts the tokens out of the text and normalises the rest. Without `parse_special`, special
  // tokens stay plain text.
  void Extract(PieceList& pieces, const Normalizer& normalizer, bool parse_special) const;

  std::optional<int32_t> Id(std::string_view content) const;
  // The text that decoding shows: normalised for tokens that are looked for in normalised text.
  std::optional<std::string_view> Text(int32_t id) const;
  bool IsSpecial(std::string_view text) const { return special_.contains(std::string(text)); }
  int32_t max_id() const;

 private:
  struct Entry {
    AddedToken token;
    std::string text;
  };
  void Cut(PieceList& pieces, const TextTrie& trie, bool parse_special) const;

  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_map<int32_t, Entry> entries_;
  std::unordered_set<std::string> special_;
  TextTrie raw_;
  TextTrie normalized_;
};

}  // namespace sophia::io::tok
