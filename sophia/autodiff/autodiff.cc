#include "sophia/autodiff/autodiff.h"

#include <memory>

#include "sophia/autodiff/forward.h"
#include "sophia/autodiff/sweep.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/ops/special_ops.h"

namespace sophia {

VjpResult Vjp(const TensorFunction& function, const std::vector<Tensor>& primals, Loc loc) {
  Region& region = Graph::Current().current_region();
  const CheckpointScope* scope = Graph::Current().checkpoint();
  // Fresh names, so that only uses through the arguments count.
  std::vector<Tensor> arguments;
  for (const Tensor& primal : primals) arguments.push_back(CheckpointName(primal, "", loc));
  const size_t first = region.nodes.size();
  std::vector<Tensor> outputs = function(arguments);
  const std::vector<Node*> nodes = NodesFrom(region, first);

  auto pullback = [=, &region](std::span<const Tensor> cotangents) {
    SOPHIA_CHECK(&region == &Graph::Current().current_region(),
                 "a pullback belongs to the region of its function");
    if (cotangents.size() != outputs.size()) {
      FailAt(loc, "vjp: expected {} cotangents, got {}", outputs.size(), cotangents.size());
    }
    TensorSet active;
    for (const Tensor& argument : arguments) {
      if (IsFloat(argument.dtype())) active.insert(argument);
    }
    PropagateActivity(nodes, active);
    SameRegionForward forward(scope);
    Sweep sweep(forward, active);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!cotangents[i].defined()) continue;
      if (cotangents[i].shape() != outputs[i].shape()) {
        FailAt(loc, "vjp: expected a cotangent {} for output {}, got {}",
               ToString(outputs[i].shape()), i, ToString(cotangents[i].shape()));
      }
      sweep.Add(outputs[i], cotangents[i]);
    }
    sweep.Run(nodes);
    std::vector<Tensor> gradients;
    for (const Tensor& argument : arguments) gradients.push_back(sweep.Cotangent(argument));
    return gradients;
  };
  return {std::move(outputs), std::move(pullback)};
}

ValueAndGradResult ValueAndGrad(const LossFunction& function, const std::vector<Tensor>& parameters,
                                Loc loc) {
  std::vector<Tensor> aux;
  const VjpResult result = Vjp(
      [&](std::span<const Tensor> arguments) {
        Loss loss = function(arguments);
        aux = std::move(loss.aux);
        return std::vector{loss.value};
      },
      parameters, loc);
  const Tensor& value = result.outputs[0];
  if (!value.defined()) {
    FailAt(loc, "value_and_grad: expected a float scalar as loss, got no value");
  }
  if (value.rank() != 0 || !IsFloat(value.dtype())) {
    FailAt(loc, "value_and_grad: expected a float scalar as loss, got {}", ToString(value.shape()));
  }
  const Tensor seed = OnesLike(value, loc);
  return {value, result.pullback(std::span(&seed, 1)), std::move(aux)};
}

std::vector<Tensor> Checkpoint(const TensorFunction& function, const std::vector<Tensor>& arguments,
                               Remat remat) {
  const CheckpointGuard guard(Graph::Current().NewCheckpointScope(std::move(remat)));
  return function(arguments);
}

}  // namespace sophia
