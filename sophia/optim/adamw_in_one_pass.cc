#include "sophia/optim/adamw_in_one_pass.h"

#include <algorithm>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/kernels/adamw.h"
#include "sophia/optim/parts.h"

namespace sophia::optim {
namespace {

bool HasCodes(const AdamWOptions& options, const Shape& parameter) {
  return options.moments == MomentStorage::k8Bit && parameter.dims.size() >= 2 &&
         parameter.elements() >= kLeast8BitElements;
}

// Moments of every parameter, then scales of those with codes: mu before nu.
std::vector<Slot> Slots(const AdamWOptions& options, std::span<const NamedShape> parameters) {
  std::vector<Slot> slots;
  const auto add = [&](std::string_view kind, const NamedShape& parameter, const Shape& shape,
                       int64_t initial) {
    slots.push_back(
        {fmt::format("{}/{}", kind, parameter.name), shape, static_cast<double>(initial)});
  };
  for (const auto& [kind, zero] :
       {std::pair("mu", kernels::kCodeOfZeroMean), std::pair("nu", kernels::kCodeOfZeroSquare)}) {
    for (const NamedShape& parameter : parameters) {
      const Dims& dims = parameter.shape.dims;
      if (HasCodes(options, parameter.shape)) {
        add(kind, parameter, kernels::MomentCodes(dims), zero);
      } else {
        const bool is_bf16 =
            options.moments == MomentStorage::kBF16Mean && std::string_view(kind) == "mu";
        add(kind, parameter, {is_bf16 ? DType::kBF16 : DType::kF32, dims}, 0);
      }
    }
  }
  for (const char* kind : {"mu_absmax", "nu_absmax"}) {
    for (const NamedShape& parameter : parameters) {
      if (!HasCodes(options, parameter.shape)) continue;
      add(kind, parameter, kernels::MomentAbsmax(parameter.shape.dims), 0);
    }
  }
  return slots;
}

Applied Step(const AdamWOptions& options, const UpdateArgs& args) {
  const size_t count = args.params.size();
  const auto coded = static_cast<size_t>(std::ranges::count_if(
      args.params, [&](const Tensor& param) { return HasCodes(options, param.shape()); }));
  const TensorList& state = args.state;
  SOPHIA_CHECK(state.size() == 2 * (count + coded), "{} state tensors", state.size());
  const auto [correction1, root_correction2] = BiasCorrections(options.adam, args.step);
  const kernels::AdamWScalars scalars{
      .grad_factor = options.update.max_grad_norm > 0
                         ? ClipFactor(args.grads, options.update.max_grad_norm)
                         : Scalar(DType::kF32, 1),
      .correction1 = correction1,
      .root_correction2 = root_correction2,
      .learning_rate = RateOf(options.update.schedule, args)};
  const kernels::AdamWOptions rule{.b1 = options.adam.b1,
                                   .b2 = options.adam.b2,
                                   .eps = options.adam.eps,
                                   .weight_decay = options.update.weight_decay};
  Applied result{.params = {}, .state = TensorList(state.size())};
  const std::vector<NamedShape> parameters = Parameters(args);
  size_t mu_absmax = 2 * count;
  for (size_t i = 0; i < count; ++i) {
    const Tensor &param = args.params[i], &grad = args.grads[i];
    const size_t nu = count + i;
    kernels::AdamWScalars own = scalars;
    own.learning_rate = ScaledRate(scalars.learning_rate, parameters[i]);
    if (!HasCodes(options, param.shape())) {
      const kernels::AdamWResult next =
          kernels::AdamW(param, grad, {state[i], state[nu]}, own, options.target, rule);
      result.params.push_back(next.param);
      result.state[i] = next.moments.mu;
      result.state[nu] = next.moments.nu;
      continue;
    }
    const size_t nu_absmax = mu_absmax + coded;
    const kernels::AdamW8BitResult next =
        kernels::AdamW8Bit(param, grad, {state[i], state[mu_absmax], state[nu], state[nu_absmax]},
                           own, options.target, rule);
    result.params.push_back(next.param);
    result.state[i] = next.moments.mu;
    result.state[nu] = next.moments.nu;
    result.state[mu_absmax] = next.moments.mu_absmax;
    result.state[nu_absmax] = next.moments.nu_absmax;
    ++mu_absmax;
  }
  return result;
}

}  // namespace

Transform AdamWInOnePass(const AdamWOptions& options) {
  return {
      .slots =
          [options](std::span<const NamedShape> parameters) { return Slots(options, parameters); },
      .update = {},
      .apply = [options](const UpdateArgs& args) { return Step(options, args); }};
}

}  // namespace sophia::optim
