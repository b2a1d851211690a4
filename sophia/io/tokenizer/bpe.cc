#include "sophia/io/tokenizer/bpe.h"

#include <algorithm>
#include <functional>
#include <queue>

#include "sophia/base/error.h"
#include "sophia/io/tokenizer/utf8.h"

namespace sophia::io::tok {
namespace {

constexpr size_t kMostCachedWords = 65536;
constexpr size_t kLongestCachedWord = 256;
constexpr int32_t kNone = -1;

uint64_t PairKey(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

}  // namespace

std::optional<std::span<const WordToken>> WordCache::Find(std::string_view word) const {
  const auto it = words_.find(word);
  if (it == words_.end()) return std::nullopt;
  return std::span(tokens_).subspan(it->second.begin, it->second.count);
}

void WordCache::Insert(std::string_view word, std::span<const WordToken> tokens) {
  if (word.size() > kLongestCachedWord || words_.size() >= kMostCachedWords) return;
  words_.emplace(
      word, Entry{static_cast<uint32_t>(tokens_.size()), static_cast<uint32_t>(tokens.size())});
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
}

Bpe::Bpe(Vocabulary vocabulary, BpeOptions options, std::string_view where)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {
  ids_.reserve(vocabulary_.size());
  places_.reserve(vocabulary_.size());
  for (size_t i = 0; i < vocabulary_.size(); ++i) {
    const auto& [text, id] = vocabulary_[i];
    if (id < 0) Fail(where, "expected ids from 0, got {} for token '{}'", id, text);
    if (!ids_.emplace(text, id).second)
      Fail(where, "expected each token once, got '{}' twice", text);
    if (!places_.emplace(id, i).second) {
      Fail(where, "expected each id once, got {} for '{}' too", id, text);
    }
    max_id_ = std::max(max_id_, id);
  }
}

void Bpe::AddMerge(std::string_view left, std::string_view right, uint32_t rank,
                   std::string_view where) {
  const std::string joined = std::string(left).append(right);
  const std::string_view parts[] = {left, right, joined};
  int32_t found[3];
  for (int i = 0; i < 3; ++i) {
    const std::optional<int32_t> id = Id(parts[i]);
    if (!id) {
      Fail(where, "expected '{}' of merge '{} {}' in the vocabulary, got none", parts[i], left,
           right);
    }
    found[i] = *id;
  }
  merges_[PairKey(found[0], found[1])] = {rank, found[2]};
}

std::optional<int32_t> Bpe::Id(std::string_view token) const {
  const auto it = ids_.find(token);
  return it == ids_.end() ? std::nullopt : std::optional(it->second);
}

std::optional<std::string_view> Bpe::Text(int32_t id) const {
  const auto it = places_.find(id);
  if (it == places_.end()) return std::nullopt;
  return vocabulary_[it->second].first;
}

const Bpe::Merge* Bpe::FindMerge(int32_t left, int32_t right) const {
  const auto it = merges_.find(PairKey(left, right));
  return it == merges_.end() ? nullptr : &it->second;
}

int32_t Bpe::UnkId() const {
  const std::optional<int32_t> id = Id(*options_.unk_token);
  if (!id) {
    Fail("tokenizer", "expected unk_token '{}' in the vocabulary, got none", *options_.unk_token);
  }
  return *id;
}

bool Bpe::AppendBytes(std::string_view word, WordToken character,
                      std::vector<Symbol>& symbols) const {
  const size_t before = symbols.size();
  for (uint32_t at = character.begin; at < character.end; ++at) {
    const auto byte = static_cast<unsigned char>(word[at]);
    const std::optional<int32_t> id = Id(fmt::format("<0x{:02X}>", byte));
    if (!id) {
      symbols.resize(before);
      return false;
    }
    symbols.push_back({{*id, at, at + 1}});
  }
  return true;
}

std::vector<Bpe::Symbol> Bpe::Symbols(std::string_view word) const {
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  bool after_unk = false;
  for (uint32_t at = 0; at < word.size();) {
    const std::string_view character = word.substr(at, CodePointAt(word, at).size);
    WordToken token = {kNone, at, at + static_cast<uint32_t>(character.size())};
    at = token.end;
    if (const std::optional<int32_t> id = Id(character)) {
      token.id = *id;
      symbols.push_back({token});
    } else if (options_.byte_fallback && AppendBytes(word, token, symbols)) {
      after_unk = false;
      continue;
    } else if (options_.unk_token) {
      if (after_unk && options_.fuse_unk) {
        symbols.back().token.end = token.end;
      } else {
        token.id = UnkId();
        symbols.push_back({token});
      }
      after_unk = true;
      continue;
    } else {
      continue;
    }
    after_unk = false;
  }
  for (size_t i = 0; i < symbols.size(); ++i) {
    symbols[i].previous = static_cast<int32_t>(i) - 1;
    symbols[i].next = i + 1 < symbols.size() ? static_cast<int32_t>(i) + 1 : kNone;
  }
  return symbols;
}

void Bpe::MergeAll(std::vector<Symbol>& symbols) const {
  std::vector<Candidate> candidates;
  const auto candidate = [&](int32_t at) -> std::optional<Candidate> {
    const Symbol& symbol = symbols[at];
    if (symbol.next == kNone) return std::nullopt;
    const Merge* merge = FindMerge(symbol.token.id, symbols[symbol.next].token.id);
    if (merge == nullptr) return std::nullopt;
    return Candidate{merge->rank, at, merge->id};
  };
  for (int32_t at = 0; at < static_cast<int32_t>(symbols.size()); ++at) {
    if (const auto found = candidate(at)) candidates.push_back(*found);
  }
  std::priority_queue queue(std::greater<>(), std::move(candidates));
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[top.at];
    if (!left.alive || left.next == kNone) continue;
    Symbol& right = symbols[left.next];
    const Merge* merge = FindMerge(left.token.id, right.token.id);
    if (merge == nullptr || merge->id != top.id) continue;
    left.token.id = top.id;
    left.token.end = right.token.end;
    left.next = right.next;
    right.alive = false;
    if (left.next != kNone) symbols[left.next].previous = top.at;
    if (left.previous != kNone) {
      if (const auto found = candidate(left.previous)) queue.push(*found);
    }
    if (const auto found = candidate(top.at)) queue.push(*found);
  }
}

void Bpe::Tokenize(std::string_view word, std::vector<WordToken>& out) const {
  out.clear();
  if (options_.ignore_merges) {
    if (const std::optional<int32_t> whole = Id(word)) {
      out.push_back({*whole, 0, static_cast<uint32_t>(word.size())});
      return;
    }
  }
  std::vector<Symbol> symbols = Symbols(word);
  MergeAll(symbols);
  for (const Symbol& symbol : symbols) {
    if (symbol.alive) out.push_back(symbol.token);
  }
}

}  // namespace sophia::io::tok
