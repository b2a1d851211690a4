#pragma once

#include <functional>
#include <span>
#include <vector>

#include "sophia/graph/graph.h"
#include "sophia/graph/ops/control_ops.h"

namespace sophia {

// jax.vjp: the function's outputs and the map from their cotangents to those of the primals. An
// undefined cotangent stands for zero, and integer primals get zeros. Tensors that `function` takes
// from outside are constants.
struct VjpResult {
  std::vector<Tensor> outputs;
  std::function<std::vector<Tensor>(std::span<const Tensor> cotangents)> pullback;
};
VjpResult Vjp(const TensorFunction& function, const std::vector<Tensor>& primals,
              Loc loc = Loc::current());

// A loss (float scalar) and values that come along undifferentiated.
struct Loss {
  Tensor value;
  std::vector<Tensor> aux = {};
};
using LossFunction = std::function<Loss(std::span<const Tensor>)>;

// jax.value_and_grad(function, has_aux=True): one gradient of the parameter's shape for each
// parameter. Only parameters are differentiated.
struct ValueAndGradResult {
  Tensor value;
  std::vector<Tensor> grads;
  std::vector<Tensor> aux;
};
ValueAndGradResult ValueAndGrad(const LossFunction& function, const std::vector<Tensor>& parameters,
                                Loc loc = Loc::current());

// jax.checkpoint: differentiating `function` keeps of its inner values only what `remat` says and
// computes the rest again.
std::vector<Tensor> Checkpoint(const TensorFunction& function, const std::vector<Tensor>& arguments,
                               Remat remat = Remat::Nothing());

}  // namespace sophia
