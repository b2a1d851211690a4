#include "sophia/optim/optimizers.h"

#include <cmath>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/kernels/adam_formula.h"
#include "sophia/optim/adamw_in_one_pass.h"
#include "sophia/optim/parts.h"

namespace sophia::optim {
namespace {

Update AdamUpdate(const AdamOptions& options, const UpdateArgs& args) {
  const size_t n = args.params.size();
  SOPHIA_CHECK(args.state.size() == 2 * n, "{} state tensors", args.state.size());
  const auto [correction1, root_correction2] = BiasCorrections(options, args.step);
  const TensorList grads = InF32(args.grads);
  Update result;
  result.state.resize(2 * n);
  for (size_t i = 0; i < n; ++i) {
    const Tensor mu = kernels::NextMean(args.state[i], grads[i], options.b1);
    const Tensor nu = kernels::NextSquare(args.state[n + i], grads[i], options.b2);
    result.updates.push_back(
        kernels::AdamDirection(mu, nu, correction1, root_correction2, options.eps));
    result.state[i] = mu;
    result.state[n + i] = nu;
  }
  return result;
}

}  // namespace

Tensor BiasCorrection(double decay, const Tensor& count) { return -Expm1(count * std::log(decay)); }

std::function<std::vector<Slot>(std::span<const NamedShape>)> ZeroSlots(
    std::vector<std::string> prefixes) {
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

void CheckPositive(std::string_view where, std::string_view name, double value) {
  if (!(value > 0) || !std::isfinite(value)) {
    Fail(where, "expected {} above 0, got {}", name, value);
  }
}

Transform Scheduled(const UpdateOptions& options, Transform direction) {
  std::vector<Transform> parts;
  if (options.max_grad_norm > 0) parts.push_back(ClipByGlobalNorm(options.max_grad_norm));
  parts.insert(parts.end(), {std::move(direction), AddDecayedWeights(options.weight_decay),
                             ScaleByLearningRate(options.schedule)});
  return Chain(parts);
}

Tensor ClipFactor(const TensorList& grads, double max_norm) {
  return Min(max_norm / (GlobalNorm(grads) + 1e-6), 1);
}

BiasCorrectionPair BiasCorrections(const AdamOptions& options, const Tensor& step) {
  const Tensor count = Convert(step, DType::kF32) + 1;
  const Tensor correction1 = BiasCorrection(options.b1, count);
  return {correction1, Sqrt(BiasCorrection(options.b2, count))};
}

Tensor ScaledRate(const Tensor& rate, const NamedShape& parameter) {
  return parameter.rate_factor == 1 ? rate : rate * parameter.rate_factor;
}

Transform ClipByGlobalNorm(double max_norm) {
  if (!(max_norm > 0)) Fail("ClipByGlobalNorm", "expected a norm above 0, got {}", max_norm);
  return Stateless([max_norm](const UpdateArgs& args) {
    const Tensor factor = ClipFactor(args.grads, max_norm);
    TensorList clipped = InF32(args.grads);
    for (Tensor& grad : clipped) grad = grad * factor;
    return clipped;
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

Tensor RateOf(const Schedule& schedule, const UpdateArgs& args) {
  return args.learning_rate.defined() ? args.learning_rate : LearningRate(schedule, args.step);
}

Transform ScaleByLearningRate(const Schedule& schedule) {
  return Stateless([schedule](const UpdateArgs& args) {
    const Tensor rate = -RateOf(schedule, args);
    const std::vector<NamedShape> parameters = Parameters(args);
    TensorList updates = InF32(args.grads);
    for (size_t i = 0; i < updates.size(); ++i) {
      updates[i] = updates[i] * ScaledRate(rate, parameters[i]);
    }
    return updates;
  });
}

Transform AdamW(const AdamWOptions& options) {
  if (options.target.mode != pallas::Mode::kReference || options.moments != MomentStorage::kF32) {
    return AdamWInOnePass(options);
  }
  return Scheduled(options.update, ScaleByAdam(options.adam));
}

Transform Sgd(const UpdateOptions& options) {
  return Scheduled(options, Stateless([](const UpdateArgs& args) { return args.grads; }));
}

}  // namespace sophia::optim
