#include "sophia/eval/outcome.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sophia/base/error.h"

namespace sophia::eval {

size_t Outcome::answered() const {
  return static_cast<size_t>(std::ranges::count_if(
      answers, [](const std::optional<Answer>& answer) { return answer.has_value(); }));
}

size_t Outcome::matches() const {
  return static_cast<size_t>(std::ranges::count_if(
      answers, [](const std::optional<Answer>& answer) { return answer && answer->is_expected; }));
}

Comparison Compare(const Outcome& first, const Outcome& second) {
  SOPHIA_CHECK(first.losses.rows.size() == second.losses.rows.size());
  SOPHIA_CHECK(first.answers.size() == second.answers.size());
  Comparison comparison;
  for (size_t i = 0; i < first.losses.rows.size(); ++i) {
    const double a = first.losses.rows[i].sum;
    const double b = second.losses.rows[i].sum;
    ++(a < b ? comparison.first_wins : b < a ? comparison.second_wins : comparison.equal);
  }
  for (size_t i = 0; i < first.answers.size(); ++i) {
    if (!first.answers[i] || !second.answers[i]) continue;
    const bool a = first.answers[i]->is_expected;
    const bool b = second.answers[i]->is_expected;
    ++(a && b ? comparison.both_match
       : a    ? comparison.first_matches
       : b    ? comparison.second_matches
              : comparison.neither_matches);
  }
  return comparison;
}

std::vector<size_t> MostDifferent(const Outcome& first, const Outcome& second, size_t count) {
  const auto difference = [&](size_t row) {
    return std::abs(first.losses.rows[row].mean() - second.losses.rows[row].mean());
  };
  std::vector<size_t> rows(first.losses.rows.size());
  std::iota(rows.begin(), rows.end(), size_t{0});
  std::ranges::stable_sort(rows, std::ranges::greater(), difference);
  rows.resize(std::min(rows.size(), count));
  return rows;
}

}  // namespace sophia::eval
