#include "sophia/optim/transform.h"

#include <set>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::optim {
namespace {

std::vector<Slot> AllSlots(std::span<const Transform> transforms,
                           std::span<const NamedShape> parameters) {
  std::vector<Slot> slots;
  std::set<std::string> names;
  for (const Transform& transform : transforms) {
    for (Slot& slot : transform.slots(parameters)) {
      SOPHIA_CHECK(names.insert(slot.name).second, "two slots named '{}'", slot.name);
      slots.push_back(std::move(slot));
    }
  }
  return slots;
}

void CheckArgs(const UpdateArgs& args) {
  SOPHIA_CHECK(args.grads.size() == args.params.size(), "{} gradients for {} parameters",
               args.grads.size(), args.params.size());
  for (size_t i = 0; i < args.params.size(); ++i) {
    SOPHIA_CHECK(args.grads[i].dims() == args.params[i].dims(), "gradient {} of parameter {}",
                 ToString(args.grads[i].shape()), ToString(args.params[i].shape()));
  }
  SOPHIA_CHECK(args.step.shape() == (Shape{DType::kS32, {}}), "step {}",
               ToString(args.step.shape()));
  SOPHIA_CHECK(args.parameters.empty() || args.parameters.size() == args.params.size(),
               "{} names for {} parameters", args.parameters.size(), args.params.size());
}

// `args` with the gradients and the state of one transform of a chain.
UpdateArgs Part(const UpdateArgs& args, TensorList grads, TensorList state) {
  UpdateArgs part = args;
  part.grads = std::move(grads);
  part.state = std::move(state);
  return part;
}

Update UpdateAll(std::span<const Transform> transforms, const UpdateArgs& args) {
  CheckArgs(args);
  const std::vector<NamedShape> parameters = Parameters(args);
  Update result{.updates = InF32(args.grads)};
  auto next = args.state.begin();
  for (const Transform& transform : transforms) {
    const auto slots = static_cast<std::ptrdiff_t>(transform.slots(parameters).size());
    SOPHIA_CHECK(args.state.end() - next >= slots, "{} state tensors", args.state.size());
    Update update =
        transform.update(Part(args, std::move(result.updates), TensorList(next, next + slots)));
    next += slots;
    result.updates = std::move(update.updates);
    result.state.insert(result.state.end(), update.state.begin(), update.state.end());
  }
  SOPHIA_CHECK(next == args.state.end(), "{} state tensors", args.state.size());
  return result;
}

// The last transform moves the parameters by the updates of those before.
Applied ApplyAll(std::span<const Transform> transforms, const UpdateArgs& args) {
  const std::span<const Transform> before = transforms.first(transforms.size() - 1);
  const auto split =
      args.state.begin() + static_cast<std::ptrdiff_t>(AllSlots(before, Parameters(args)).size());
  Update update = UpdateAll(before, Part(args, args.grads, TensorList(args.state.begin(), split)));
  Applied applied = transforms.back().apply(
      Part(args, std::move(update.updates), TensorList(split, args.state.end())));
  applied.state.insert(applied.state.begin(), update.state.begin(), update.state.end());
  return applied;
}

template <typename T>
std::vector<std::byte> Repeated(const Slot& slot) {
  const std::vector<T> values(static_cast<size_t>(slot.shape.elements()),
                              static_cast<T>(slot.initial_value));
  const std::span<const std::byte> bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

}  // namespace

std::vector<std::byte> InitialBytes(const Slot& slot) {
  if (slot.shape.dtype == DType::kU8) return Repeated<uint8_t>(slot);
  if (slot.shape.dtype == DType::kBF16 && slot.initial_value == 0) return Repeated<uint16_t>(slot);
  SOPHIA_CHECK(slot.shape.dtype == DType::kF32, "slot {}", ToString(slot.shape));
  return Repeated<float>(slot);
}

std::vector<NamedShape> Parameters(const UpdateArgs& args) {
  if (!args.parameters.empty()) return args.parameters;
  std::vector<NamedShape> parameters;
  for (const Tensor& param : args.params) {
    parameters.push_back({std::to_string(parameters.size()), param.shape()});
  }
  return parameters;
}

Transform Chain(const std::vector<Transform>& transforms) {
  for (size_t i = 0; i + 1 < transforms.size(); ++i) {
    SOPHIA_CHECK(transforms[i].update, "transform {} of {} gives no updates", i, transforms.size());
  }
  Transform chain{.slots = [transforms](std::span<const NamedShape> parameters) {
    return AllSlots(transforms, parameters);
  }};
  for (const Transform& transform : transforms) {
    if (transform.curvature == Curvature::kNone) continue;
    SOPHIA_CHECK(chain.curvature == Curvature::kNone, "two transforms ask for curvature");
    chain.curvature = transform.curvature;
  }
  if (!transforms.empty() && transforms.back().apply) {
    chain.apply = [transforms](const UpdateArgs& args) { return ApplyAll(transforms, args); };
  } else {
    chain.update = [transforms](const UpdateArgs& args) { return UpdateAll(transforms, args); };
  }
  return chain;
}

Applied Apply(const Transform& transform, const UpdateArgs& args) {
  if (transform.apply) return transform.apply(args);
  Update update = transform.update(args);
  return {.params = ApplyUpdates(args.params, update.updates), .state = std::move(update.state)};
}

TensorList ApplyUpdates(const TensorList& params, const TensorList& updates) {
  SOPHIA_CHECK(params.size() == updates.size(), "{} updates for {} parameters", updates.size(),
               params.size());
  TensorList applied;
  for (size_t i = 0; i < params.size(); ++i) {
    const Tensor sum = Convert(params[i], DType::kF32) + updates[i];
    applied.push_back(Convert(sum, params[i].dtype()));
  }
  return applied;
}

Tensor GlobalNorm(const TensorList& tensors) {
  Tensor sum = Scalar(DType::kF32, 0);
  for (const Tensor& tensor : InF32(tensors)) sum = sum + Sum(tensor * tensor);
  return Sqrt(sum);
}

TensorList InF32(const TensorList& tensors) {
  TensorList converted;
  for (const Tensor& tensor : tensors) converted.push_back(Convert(tensor, DType::kF32));
  return converted;
}

}  // namespace sophia::optim
