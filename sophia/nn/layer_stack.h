#pragma once

#include <functional>
#include <span>
#include <vector>

#include "sophia/graph/node.h"
#include "sophia/nn/param.h"

namespace sophia::nn {

// Equal layers, traced once: their parameters are stacked and a scan runs over them.
class LayerStack {
 public:
  // Parameters declared through scope() belong to the stack; declare them before Close().
  LayerStack(const ParamScope& parent, int64_t layers);
  const ParamScope& scope() const { return scope_; }
  void Close();

  struct Step {
    std::vector<Tensor> carry;
    std::vector<Tensor> ys = {};
  };
  // `body` is one layer: parameters have the layer's values, `layer` is its number (s32 scalar).
  using Body = std::function<Step(std::span<const Tensor> carry, std::span<const Tensor> xs,
                                  const Tensor& layer)>;
  // Runs all layers. xs have a leading dimension of `layers`, as the ys get. The scope's
  // ActivationPolicy says what a reverse pass keeps; Error for a number of layers that it does not
  // divide.
  Step Run(const Body& body, const std::vector<Tensor>& carry,
           const std::vector<Tensor>& xs = {}) const;

 private:
  ParamTable* table_;
  ParamScope scope_;
  int64_t layers_;
  size_t first_;
  size_t last_ = 0;
};

}  // namespace sophia::nn
