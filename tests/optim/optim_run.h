#pragma once

#include <string>
#include <vector>

#include "sophia/optim/optimizers.h"
#include "sophia/pjrt/client.h"

namespace sophia::optim {

using Values = std::vector<double>;

struct OptimCase {
  Transform transform;
  Schedule schedule;
  std::vector<NamedShape> parameters;                // f32 or bf16
  std::vector<Values> initial;                       // [parameter]
  std::vector<std::vector<Values>> grads;            // f32 gradients by [step][parameter]
  std::vector<std::vector<Values>> curvatures = {};  // likewise, if the transform asks for them
};

// What the program gave at one step.
struct OptimStep {
  std::vector<Values> params;  // after the update
  std::vector<Values> state;   // after the update, in the order of the slots
  double learning_rate = 0;
  double grad_norm = 0;
};

// Compiles one training step of the case and runs it for every entry of `grads`, from the slots'
// initial values.
std::vector<OptimStep> RunOptim(const pjrt::Client& client, const OptimCase& test);

}  // namespace sophia::optim
