#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "sophia/base/shape.h"
#include "sophia/graph/tensor.h"

namespace sophia::optim {

using TensorList = std::vector<Tensor>;

struct NamedShape {
  std::string name;
  Shape shape;
  bool stacked = false;    // the first axis counts arrays, each optimised on its own
  double rate_factor = 1;  // times the learning rate
};

// Whether it is a matrix, or a stack of them.
inline bool IsMatrix(const NamedShape& parameter) {
  return parameter.shape.dims.size() == (parameter.stacked ? 3 : 2);
}

// A state tensor that the caller allocates, hands to every step, and saves by its name, such as
// "mu/model.layers.0.self_attn.q_proj.lora_A".
struct Slot {
  std::string name;
  Shape shape;  // f32, or u8 for codes
  double initial_value = 0;
};

// The slot's values before the first step, in its type.
std::vector<std::byte> InitialBytes(const Slot& slot);

struct UpdateArgs {
  TensorList grads;                         // of the parameters' sizes, any float type
  TensorList params;                        // f32 or bf16
  TensorList state;                         // in the order of the slots
  Tensor step;                              // s32[], updates done before this one
  Tensor learning_rate = {};                // f32[]; undefined: that of a transform's own schedule
  std::vector<NamedShape> parameters = {};  // of params; empty: numbered and not stacked
  // Builds the ops of the estimate that the transform's `curvature` asks for, f32 of the
  // parameters' sizes.
  std::function<TensorList()> curvature = {};
};

// `parameters`, also where there are none.
std::vector<NamedShape> Parameters(const UpdateArgs& args);

struct Update {
  TensorList updates;  // f32, to add to the parameters; see ApplyUpdates
  TensorList state;    // in the order of the slots
};

struct Applied {
  TensorList params;  // after the step
  TensorList state;   // in the order of the slots
};

// Estimates of the diagonal of the loss's Hessian (https://arxiv.org/abs/2305.14342, algorithms 1
// and 2).
enum class Curvature : uint8_t { kNone, kHutchinson, kGaussNewtonBartlett };

// A gradient transformation, as in Optax: `slots` names the state it needs for given parameters,
// `update` builds the ops of one step in the graph being traced. Math is f32. One that moves the
// parameters itself, as a kernel does in one pass, has `apply` in place of `update`.
struct Transform {
  std::function<std::vector<Slot>(std::span<const NamedShape> parameters)> slots;
  std::function<Update(const UpdateArgs& args)> update;
  std::function<Applied(const UpdateArgs& args)> apply = {};
  Curvature curvature = Curvature::kNone;  // what UpdateArgs::curvature must give
};

// Applies the transforms in order, each to the updates of the one before. No two may name the same
// slot. Only the last may have `apply`; the chain then has it too. One at most asks for curvature.
Transform Chain(const std::vector<Transform>& transforms);

// One step by either: `apply`, or ApplyUpdates of what `update` gives.
Applied Apply(const Transform& transform, const UpdateArgs& args);

// params + updates, summed in f32 and rounded once to each parameter's type.
TensorList ApplyUpdates(const TensorList& params, const TensorList& updates);

// sqrt of the sum of all squares: f32[].
Tensor GlobalNorm(const TensorList& tensors);

// The tensors as f32.
TensorList InF32(const TensorList& tensors);

}  // namespace sophia::optim
