#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sophia/train/example_source.h"

namespace sophia::train {

// What fits into one sequence.
struct SequenceLimits {
  int64_t tokens = 0;
  int64_t trained = 0;  // trained tokens
};

// Lays examples together into few sequences by best fit decreasing (Johnson 1974,
// https://doi.org/10.1137/0203025): from the longest to the shortest, each where the least room is
// left behind it. Each example alone must keep the limits. -> for each sequence its examples in
// ascending order; sequences ordered by their first example.
std::vector<std::vector<size_t>> Pack(std::span<const ExampleSize> examples,
                                      const SequenceLimits& limits);

}  // namespace sophia::train
