#include "sophia/nn/layer_stack.h"

#include "sophia/base/error.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::nn {
namespace {

// A scan over groups of `size` iterations, of which a reverse pass keeps the first one's carry. It
// computes the other carries of one group at a time again.
ScanResult ScanInGroups(const ScanBody& body, const std::vector<Tensor>& carry,
                        const std::vector<Tensor>& xs, int64_t size, const ActivationPolicy& keep) {
  std::vector<Tensor> grouped;
  for (const Tensor& x : xs) {
    Dims dims = x.dims();
    dims[0] = size;
    dims.insert(dims.begin(), x.dim(0) / size);
    grouped.push_back(Reshape(x, dims));
  }
  Remat outer = Remat::Nothing();
  outer.offloads_carries = keep.offloads_inputs;
  outer.prefetches_carries = keep.prefetches_inputs;
  ScanResult result = Scan(
      [&](std::span<const Tensor> state, std::span<const Tensor> slices) -> ScanStep {
        ScanResult group = Scan(body, {state.begin(), state.end()}, {slices.begin(), slices.end()},
                                {.remat = keep.remat});
        return {std::move(group.carry), std::move(group.ys)};
      },
      carry, grouped, {.remat = outer});
  for (Tensor& y : result.ys) {
    Dims dims(y.dims().begin() + 1, y.dims().end());
    dims[0] *= y.dim(0);
    y = Reshape(y, dims);
  }
  return result;
}

}  // namespace

LayerStack::LayerStack(const ParamScope& parent, int64_t layers)
    : table_(&parent.table()),
      scope_(parent.Layers(layers)),
      layers_(layers),
      first_(table_->specs().size()) {}

void LayerStack::Close() { last_ = table_->specs().size(); }

LayerStack::Step LayerStack::Run(const Body& body, const std::vector<Tensor>& carry,
                                 const std::vector<Tensor>& xs) const {
  SOPHIA_CHECK(last_ > first_, "a stack of layers without parameters, or not closed");
  const ActivationPolicy& keep = scope_.policy().activations();
  if (layers_ % keep.layers_per_input != 0) {
    Fail("policy",
         "expected the input of every k-th layer kept, with k a divisor of {} layers, got {}",
         layers_, keep.layers_per_input);
  }
  std::vector<Tensor> stacked;
  for (size_t i = first_; i < last_; ++i) stacked.push_back(table_->value(i));
  std::vector<Tensor> inputs = stacked;
  inputs.push_back(Iota({DType::kS32, {layers_}}, 0));
  inputs.insert(inputs.end(), xs.begin(), xs.end());

  const Tensor outer_layer = table_->layer();
  const ScanBody layer_body = [&](std::span<const Tensor> state,
                                  std::span<const Tensor> slices) -> ScanStep {
    for (size_t i = first_; i < last_; ++i) table_->Set(i, slices[i - first_]);
    const Tensor& layer = slices[last_ - first_];
    table_->set_layer(layer);
    Step step = body(state, slices.subspan(last_ - first_ + 1), layer);
    return {std::move(step.carry), std::move(step.ys)};
  };
  Remat remat = keep.remat;
  remat.offloads_carries = keep.offloads_inputs;
  remat.prefetches_carries = keep.prefetches_inputs;
  ScanResult result = keep.layers_per_input > 1
                          ? ScanInGroups(layer_body, carry, inputs, keep.layers_per_input, keep)
                          : Scan(layer_body, carry, inputs, {.length = layers_, .remat = remat});
  for (size_t i = first_; i < last_; ++i) table_->Set(i, stacked[i - first_]);
  table_->set_layer(outer_layer);
  return {std::move(result.carry), std::move(result.ys)};
}

}  // namespace sophia::nn
