#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sophia/base/json.h"
#include "sophia/train/evaluator.h"

namespace sophia::eval {

// A row that models are evaluated on.
struct EvaluatedRow {
  std::string where;  // "rows.jsonl:3"
  Json prompt;        // a text or messages; null: the row is no question
  std::optional<std::string> expected;
};

// A generated answer.
struct Answer {
  std::string text;
  bool is_expected = false;  // equal but for white space around it
};

// What one model makes of the rows.
struct Outcome {
  std::string label;    // "before"
  std::string adapter;  // its folder; empty: none
  std::string model;    // another one's path; empty: the report's
  train::EvaluationResult losses;
  train::HiddenStates states = {};             // if they are to be compared
  std::vector<std::optional<Answer>> answers;  // of each row; nullopt: not asked for

  size_t answered() const;
  size_t matches() const;
};

// Two outcomes over the same rows.
struct Comparison {
  // Rows whose loss is lower under the first, lower under the second, or the same.
  size_t first_wins = 0;
  size_t second_wins = 0;
  size_t equal = 0;
  // Rows answered by both, by who is right.
  size_t both_match = 0;
  size_t first_matches = 0;
  size_t second_matches = 0;
  size_t neither_matches = 0;
};
Comparison Compare(const Outcome& first, const Outcome& second);

// The rows whose mean loss differs most, the largest difference first.
std::vector<size_t> MostDifferent(const Outcome& first, const Outcome& second, size_t count);

}  // namespace sophia::eval
