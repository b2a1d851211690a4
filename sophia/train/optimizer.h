#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "sophia/optim/optimizers.h"

namespace sophia::train {

enum class OptimizerKind : uint8_t {
  kAdamW,
  kAdamW8Bit,
  kAdamWBF16,
  kSgd,
  kAdafactor,
  kLion,
  kMuon,
  kSophiaG,
  kSophiaH,
};

// An argument of its own that an optimiser has, with its default.
struct OptimizerArgument {
  std::string_view name;
  double value;
};
// By name; those not given have their defaults.
using OptimizerArguments = std::map<std::string, double, std::less<>>;

// An optimiser by the name that transformers or else its paper gives it, and its defaults.
struct OptimizerInfo {
  std::string_view name;
  optim::AdamOptions adam = {};
  std::span<const OptimizerArgument> arguments = {};
};
const OptimizerInfo& Info(OptimizerKind kind);

// By name or by another in use (adamw_bnb_8bit, sophia). Throws Error for others.
OptimizerKind OptimizerFromName(std::string_view name);

// "gamma=0.01,update_interval=5", and back with the defaults of what is not given. Throws Error for
// a name that the optimiser does not have, or a value that is no number.
OptimizerArguments ParseOptimizerArguments(OptimizerKind kind, std::string_view text);
std::string ToText(OptimizerKind kind, const OptimizerArguments& arguments);

struct OptimizerChoice {
  OptimizerKind kind = OptimizerKind::kAdamW;
  optim::AdamOptions adam = {};
  OptimizerArguments arguments = {};
};
// Clipping, then the optimiser. `target` says how its kernels are traced. Throws Error for values
// out of range.
optim::Transform MakeOptimizer(const OptimizerChoice& choice, const optim::UpdateOptions& update,
                               const kernels::KernelTarget& target);

}  // namespace sophia::train
