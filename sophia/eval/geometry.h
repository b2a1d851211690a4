#pragma once

#include <vector>

#include "sophia/pjrt/client.h"
#include "sophia/train/evaluator.h"

namespace sophia::eval {

// How alike the hidden states of two models are, by nn::MeasureIsomorphism, for each layer of the
// first.
struct Geometry {
  std::vector<float> cka;
  std::vector<float> distance_loss;
  int64_t tokens = 0;  // that were compared
};

// Of states at the same tokens, of which at least nn::kLeastTokens count: dims[1] and `counted` are
// the same. A layer of `a` is compared with the one of `b` at the same depth.
Geometry CompareGeometry(const train::HiddenStates& a, const train::HiddenStates& b,
                         const pjrt::Device& device);

}  // namespace sophia::eval
