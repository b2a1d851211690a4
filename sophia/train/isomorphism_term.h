#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sophia::train {

// What a step adds to its loss, or puts in its place: weight times the mean over layers of
// 1 - cka + distance_loss (nn::MeasureIsomorphism) between the model's hidden states and those of
// a Teacher, on the same tokens.
struct IsomorphismTerm {
  double weight = 1;
  double language_weight = 0;  // of the usual loss; 0: none
  int64_t tokens = 128;        // at most so many of a micro-batch's trained tokens are compared
};

// What a step reports of such a loss, each before its weight.
inline std::vector<std::string> PartNames(const IsomorphismTerm& term) {
  std::vector<std::string> names = {"cka", "distance_loss"};
  if (term.language_weight > 0) names.emplace_back("language_loss");
  return names;
}

}  // namespace sophia::train
