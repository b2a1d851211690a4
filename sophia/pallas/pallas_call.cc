#include "sophia/pallas/pallas_call.h"

#include <algorithm>
#include <array>

#include "sophia/autodiff/autodiff.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/pallas/interpret.h"
#include "sophia/pallas/mosaic.h"

namespace sophia::pallas {
namespace {

// In the order of Mode.
constexpr std::array<std::string_view, 3> kModeNames = {"mosaic", "interpret", "reference"};

thread_local const CallObserver* observer = nullptr;

std::vector<Tensor> CallReference(const KernelSpec& spec, const std::vector<Tensor>& inputs,
                                  const TensorFunction& reference, Loc loc) {
  if (reference == nullptr) {
    FailAt(loc, "kernel '{}': expected a reference for mode reference, got none", spec.name);
  }
  std::vector<Tensor> outputs = reference(inputs);
  bool fits = outputs.size() == spec.out_shapes.size();
  for (size_t i = 0; fits && i < outputs.size(); ++i) {
    fits = outputs[i].shape() == spec.out_shapes[i];
  }
  if (!fits) {
    FailAt(loc, "kernel '{}': expected a reference that returns tensors of out_shapes, got others",
           spec.name);
  }
  return outputs;
}

KernelVjp RuleOf(const KernelSpec& spec, const CallOptions& options, Loc loc) {
  if (options.vjp != nullptr) return options.vjp;
  return [name = spec.name, reference = options.reference, loc](
             std::span<const Tensor> inputs, std::span<const Tensor> cotangents) {
    if (reference == nullptr) {
      FailAt(loc, "kernel '{}': expected a vjp or a reference to differentiate, got neither", name);
    }
    return Vjp(reference, {inputs.begin(), inputs.end()}, loc).pullback(cotangents);
  };
}

}  // namespace

CallObserver::CallObserver(Callback callback)
    : callback_(std::move(callback)), previous_(observer) {
  observer = this;
}

CallObserver::~CallObserver() { observer = previous_; }

std::string_view Name(Mode mode) { return kModeNames[static_cast<size_t>(mode)]; }

std::optional<Mode> ModeFromName(std::string_view name) {
  const auto* const found = std::ranges::find(kModeNames, name);
  if (found == kModeNames.end()) return std::nullopt;
  return static_cast<Mode>(found - kModeNames.begin());
}

std::vector<Tensor> PallasCall(const KernelSpec& spec, const KernelBody& body,
                               const std::vector<Tensor>& inputs, const CallOptions& options,
                               Loc loc) {
  if (options.mode == Mode::kReference) return CallReference(spec, inputs, options.reference, loc);
  std::vector<Shape> shapes;
  for (const Tensor& input : inputs) shapes.push_back(input.shape());
  const Kernel kernel = TraceKernel(spec, body, shapes, options.chip, loc);
  const auto call = [&](const std::vector<Tensor>& operands) {
    std::vector<Tensor> outputs = options.mode == Mode::kMosaic ? MosaicCall(kernel, operands, loc)
                                                                : Interpret(kernel, operands, loc);
    if (observer != nullptr) observer->callback()(kernel, operands, outputs);
    return outputs;
  };
  return CustomVjp(
      inputs,
      [&](std::span<const Tensor> primals) -> CustomVjpOutput {
        const std::vector<Tensor> operands(primals.begin(), primals.end());
        return {.outputs = call(operands), .residuals = operands};
      },
      RuleOf(spec, options, loc), loc);
}

}  // namespace sophia::pallas
