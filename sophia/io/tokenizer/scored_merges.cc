#include "sophia/io/tokenizer/scored_merges.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "sophia/base/error.h"
#include "sophia/io/tokenizer/utf8.h"

namespace sophia::io::tok {

int32_t TokenType(const GgufTokenizerData& data, size_t id) {
  return data.token_types.empty() ? kNormalToken : data.token_types[id];
}

std::vector<ScoredMerge> ScoredMerges(const GgufTokenizerData& data, std::string_view where) {
  if (data.scores.size() != data.tokens.size()) {
    Fail(where, "expected {} scores, got {}", data.tokens.size(), data.scores.size());
  }
  std::vector<size_t> order;
  std::unordered_map<std::string_view, size_t> normal;
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    if (std::isnan(data.scores[id])) {
      Fail(where, "expected a number as score of token {}, got NaN", id);
    }
    if (TokenType(data, id) != kNormalToken || data.tokens[id].empty()) continue;
    order.push_back(id);
    normal.emplace(data.tokens[id], id);
  }
  std::ranges::stable_sort(order,
                           [&](size_t a, size_t b) { return data.scores[a] > data.scores[b]; });
  std::vector<ScoredMerge> merges;
  uint32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && data.scores[order[i]] != data.scores[order[i - 1]]) ++rank;
    const std::string_view text = data.tokens[order[i]];
    for (size_t at = CodePointAt(text, 0).size; at < text.size();
         at += CodePointAt(text, at).size) {
      const auto left = normal.find(text.substr(0, at));
      const auto right = normal.find(text.substr(at));
      if (left == normal.end() || right == normal.end()) continue;
      merges.push_back({left->first, right->first, rank});
    }
  }
  return merges;
}

}  // namespace sophia::io::tok
