#include "sophia/nn/layer_stack.h"

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"

namespace sophia::nn {

LayerStack::LayerStack(const ParamScope& parent, int64_t layers)
    : table_(&parent.table()),
      scope_(parent.Layers(layers)),
      layers_(layers),
      first_(table_->specs().size()) {}

void LayerStack::Close() { last_ = table_->specs().size(); }

LayerStack::Step LayerStack::Run(const Body& body, const std::vector<Tensor>& carry,
                                 const std::vector<Tensor>& xs, const Remat& remat) const {
  SOPHIA_CHECK(last_ > first_, "a stack of layers without parameters, or not closed");
  std::vector<Tensor> stacked;
  for (size_t i = first_; i < last_; ++i) stacked.push_back(table_->value(i));
  std::vector<Tensor> inputs = stacked;
  inputs.push_back(Iota({DType::kS32, {layers_}}, 0));
  inputs.insert(inputs.end(), xs.begin(), xs.end());

  const Tensor outer_layer = table_->layer();
  ScanResult result = Scan(
      [&](std::span<const Tensor> state, std::span<const Tensor> slices) -> ScanStep {
        for (size_t i = first_; i < last_; ++i) table_->Set(i, slices[i - first_]);
        const Tensor& layer = slices[last_ - first_];
        table_->set_layer(layer);
        Step step = body(state, slices.subspan(last_ - first_ + 1), layer);
        return {std::move(step.carry), std::move(step.ys)};
      },
      carry, inputs, {.length = layers_, .remat = remat});
  for (size_t i = first_; i < last_; ++i) table_->Set(i, stacked[i - first_]);
  table_->set_layer(outer_layer);
  return {std::move(result.carry), std::move(result.ys)};
}

}  // namespace sophia::nn
