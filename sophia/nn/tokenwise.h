#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "sophia/nn/param.h"

namespace sophia::nn {

// How many tiles of at most `tile` tokens a sequence is cut into: the fewest that divide it evenly,
// if they are at most twice as many as it takes; else as many as it takes.
int64_t TileCount(int64_t seq, int64_t tile);

// Applies functions that treat every token alone, which is all of a layer but attention: in tiles
// along the sequence where the scope's ActivationPolicy says so. A reverse pass then computes each
// tile again, so that only one tile's inner values exist at a time, in either pass.
class Tokenwise {
 public:
  explicit Tokenwise(const ParamScope& scope) : table_(&scope.table()), policy_(&scope.policy()) {}

  using Function = std::function<std::vector<Tensor>(std::span<const Tensor> tokens)>;
  // inputs: [B, S, …] each -> function(inputs): [B, S, …] each. `function` may use what is traced
  // around it.
  std::vector<Tensor> operator()(const Function& function, const std::vector<Tensor>& inputs) const;

 private:
  ParamTable* table_;
  const ParamPolicy* policy_;
};

}  // namespace sophia::nn
