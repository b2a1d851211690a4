#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace sophia::io::tok {

struct BpeOptions {
  std::optional<std::string> unk_token;  // stands for characters the vocabulary lacks
  bool fuse_unk = false;                 // one unk_token for a run of such characters
  bool byte_fallback = false;            // spell such characters as <0xNN> tokens
  bool ignore_merges = false;            // a word that is a token needs no merges
};

// A token and the bytes of the word that it stands for.
struct WordToken {
  int32_t id;
  uint32_t begin;
  uint32_t end;
};

// Keeps the tokens of words seen before, up to a fixed number of words.
class WordCache {
 public:
  // The tokens of `word`; nullopt if the word is not known. Valid until the next Insert.
  std::optional<std::span<const WordToken>> Find(std::string_view word) const;
  void Insert(std::string_view word, std::span<const WordToken> tokens);

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  struct Entry {
    uint32_t begin;
    uint32_t count;
  };
  std::unordered_map<std::string, Entry, Hash, std::equal_to<>> words_;
  std::vector<WordToken> tokens_;
};

// Byte-pair encoding: a vocabulary and ranked merges of pairs of tokens.
class Bpe {
 public:
  using Vocabulary = std::vector<std::pair<std::string, int32_t>>;

  // Throws Error naming `where` when a token or an id comes twice or an id is negative.
  Bpe(Vocabulary vocabulary, BpeOptions options, std::string_view where);
  Bpe(Bpe&&) = default;
  Bpe& operator=(Bpe&&) = default;
  Bpe(const Bpe&) = delete;
  Bpe& operator=(const Bpe&) = delete;

  // Makes `left` followed by `right` the token that spells both; lower ranks merge first, equal
  // ranks from the left. Throws Error when one of the three is not in the vocabulary.
  void AddMerge(std::string_view left, std::string_view right, uint32_t rank,
                std::string_view where);

  // The tokens of a word (valid UTF-8) into `out`. Throws Error when unk_token is needed and not in
  // the vocabulary.
  void Tokenize(std::string_view word, std::vector<WordToken>& out) const;

  size_t size() const { return vocabulary_.size(); }
  int32_t max_id() const { return max_id_; }  // -1 when the vocabulary is empty
  std::optional<int32_t> Id(std::string_view token) const;
  std::optional<std::string_view> Text(int32_t id) const;

 private:
  struct Merge {
    uint32_t rank;
    int32_t id;
  };
  struct Symbol {
    WordToken token;
    int32_t previous = -1;
    int32_t next = -1;
    bool alive = true;
  };
  // What waits to be merged: the symbol at `at` and the one after it.
  struct Candidate {
    uint32_t rank;
    int32_t at;
    int32_t id;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };

  const Merge* FindMerge(int32_t left, int32_t right) const;
  std::vector<Symbol> Symbols(std::string_view word) const;
  bool AppendBytes(std::string_view word, WordToken character, std::vector<Symbol>& symbols) const;
  int32_t UnkId() const;
  void MergeAll(std::vector<Symbol>& symbols) const;

  Vocabulary vocabulary_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::unordered_map<int32_t, size_t> places_;  // id -> index in vocabulary_
  std::unordered_map<uint64_t, Merge> merges_;
  BpeOptions options_;
  int32_t max_id_ = -1;
};

}  // namespace sophia::io::tok
