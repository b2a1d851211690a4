#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sophia/eval/geometry.h"
#include "sophia/eval/outcome.h"

namespace sophia::eval {

struct Report {
  std::string model;
  std::vector<std::string> data;  // files
  std::string summary;            // train::Summary
  std::vector<EvaluatedRow> rows;
  std::vector<Outcome> outcomes;                    // one or two, over `rows`
  bool counts_matches = false;                      // all rows were answered
  std::vector<size_t> samples;                      // rows to show
  std::optional<Geometry> geometry = std::nullopt;  // of two outcomes
};

// Some lines for people: a column for each outcome, who wins, samples.
std::string ToText(const Report& report);

// {"model", "data", "rows", "tokens"} and of one outcome {"adapter", "loss", "perplexity",
// "exact_match"}. Two outcomes are objects of that under their labels, beside "wins", "matches",
// "row_losses", "samples" and, where it was measured, "geometry": {"tokens", "cka",
// "distance_loss"}, the latter a number for each layer.
Json ToJson(const Report& report);

// The samples of two outcomes, a JSON object in each line: {"prompt", "expected", "before",
// "after"}.
std::string SampleLines(const Report& report);

}  // namespace sophia::eval
