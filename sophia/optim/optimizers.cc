#include "sophia/optim/optimizers.h"

#include <cmath>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::optim {
namespace {

// A transform without state: `function` maps the gradients to updates.
template <typename Function>
Transform Stateless(Function function) {
  return {.slots = [](std::span<const NamedShape>) { return std::vector<Slot>(); },
          .update = [function](const UpdateArgs& args) -> Update {
            return {.updates = function(args), .state = {}};
          }};
}

// One f32 slot of zeros for each parameter and prefix, prefix by prefix.
auto ZeroSlots(std::vector<std::string> prefixes) {
  return [prefixes = std::move(prefixes)](std::span<const NamedShape> parameters) {
    std::vector<Slot> slots;
    for (const std::string& prefix : prefixes) {
      for (const NamedShape& parameter : parameters) {
        slots.push_back({prefix + "/" + parameter.name, {DType::kF32, parameter.shape.dims}, 0});
      }
    }
    return slots;
  };
}

void CheckFraction(std::string_view where, std::string_view name, double value) {
  if (!(value >= 0 && value < 1)) {
    Fail(where, "expected {} of at least 0 and below 1, got {}", name, value);
  }
}

void CheckNotNegative(std::string_view where, std::string_view name, double value) {
  if (!(value >= 0) || !std::isfinite(value)) {
    Fail(where, "expected {} of at least 0, got {}", name, value);
  }
}

// 1 - decay^count as -expm1(count log decay): in f32, 1 - 0.999f alone is off by 1e-5.
Tensor BiasCorrection(double decay, const Tensor& count) { return -Expm1(count * std::log(decay)); }

Update AdamUpdate(const AdamOptions& options, const UpdateArgs& args) {
  const size_t n = args.params.size();
  SOPHIA_CHECK(args.state.size() == 2 * n, "{} state tensors", args.state.size());
  const Tensor count = Convert(args.step, DType::kF32) + 1;
  const Tensor correction1 = BiasCorrection(options.b1, count);
  const Tensor root_correction2 = Sqrt(BiasCorrection(options.b2, count));
  const TensorList grads = InF32(args.grads);
  Update result;
  result.state.resize(2 * n);
  for (size_t i = 0; i < n; ++i) {
    const Tensor mu = args.state[i] * options.b1 + grads[i] * (1 - options.b1);
    const Tensor nu = args.state[n + i] * options.b2 + grads[i] * grads[i] * (1 - options.b2);
    result.updates.push_back(mu / correction1 / (Sqrt(nu) / root_correction2 + options.eps));
    result.state[i] = mu;
    result.state[n + i] = nu;
  }
  return result;
}

TensorList Scaled(const TensorList& tensors, const Tensor& factor) {
  TensorList scaled;
  for (const Tensor& tensor : InF32(tensors)) scaled.push_back(tensor * factor);
  return scaled;
}

}  // namespace

Transform ClipByGlobalNorm(double max_norm) {
  if (!(max_norm > 0)) Fail("ClipByGlobalNorm", "expected a norm above 0, got {}", max_norm);
  return Stateless([max_norm](const UpdateArgs& args) {
    return Scaled(args.grads, Min(max_norm / (GlobalNorm(args.grads) + 1e-6), 1));
  });
}

Transform ScaleByAdam(const AdamOptions& options) {
  CheckFraction("ScaleByAdam", "b1", options.b1);
  CheckFraction("ScaleByAdam", "b2", options.b2);
  CheckNotNegative("ScaleByAdam", "eps", options.eps);
  return {.slots = ZeroSlots({"mu", "nu"}),
          .update = [options](const UpdateArgs& args) { return AdamUpdate(options, args); }};
}

Transform AddDecayedWeights(double weight_decay) {
  CheckNotNegative("AddDecayedWeights", "weight decay", weight_decay);
  return Stateless([weight_decay](const UpdateArgs& args) {
    TensorList updates = InF32(args.grads);
    if (weight_decay == 0) return updates;
    const TensorList params = InF32(args.params);
    for (size_t i = 0; i < updates.size(); ++i) updates[i] = updates[i] + params[i] * weight_decay;
    return updates;
  });
}

Transform ScaleByLearningRate(const Schedule& schedule) {
  return Stateless([schedule](const UpdateArgs& args) {
    return Scaled(args.grads, -LearningRate(schedule, args.step));
  });
}

Transform AdamW(const AdamWOptions& options) {
  return Chain({ScaleByAdam(options.adam), AddDecayedWeights(options.weight_decay),
                ScaleByLearningRate(options.schedule)});
}

Transform Sgd(const SgdOptions& options) {
  return Chain({AddDecayedWeights(options.weight_decay), ScaleByLearningRate(options.schedule)});
}

}  // namespace sophia::optim
