#include "sophia/eval/geometry.h"

#include <numeric>

#include "sophia/base/error.h"
#include "sophia/nn/isomorphism.h"
#include "sophia/runtime/program.h"

namespace sophia::eval {

Geometry CompareGeometry(const train::HiddenStates& a, const train::HiddenStates& b,
                         const pjrt::Device& device) {
  SOPHIA_CHECK(a.dims[1] == b.dims[1] && a.counted == b.counted);
  const std::vector<Shape> shapes = {
      {DType::kF32, a.dims}, {DType::kF32, b.dims}, {DType::kF32, {a.dims[1]}}};
  Graph graph;
  std::vector<Tensor> inputs;
  for (const Shape& shape : shapes) inputs.push_back(graph.AddInput(shape, {}));
  {
    const Tracing tracing(graph);
    const Tensor other = nn::AtTheSameDepth(inputs[1], a.dims[0]);
    const nn::IsomorphismMeasures measures = nn::MeasureIsomorphism(inputs[0], other, inputs[2]);
    graph.AddOutput(measures.cka, {});
    graph.AddOutput(measures.distance_loss, {});
  }
  const Program program =
      Program::Compile(device.client(), graph, {.name = "geometry", .device = device});
  std::vector<pjrt::Buffer> buffers;
  const std::vector<float>* values[] = {&a.values, &b.values, &a.counted};
  for (size_t i = 0; i < shapes.size(); ++i) {
    buffers.push_back(pjrt::Buffer::FromHost(device, shapes[i], *values[i]));
  }
  const std::vector<pjrt::Buffer> results =
      program.Run(std::vector{&buffers[0], &buffers[1], &buffers[2]});
  return {
      .cka = results[0].ToVector<float>(),
      .distance_loss = results[1].ToVector<float>(),
      .tokens = static_cast<int64_t>(std::accumulate(a.counted.begin(), a.counted.end(), 0.0F))};
}

}  // namespace sophia::eval
