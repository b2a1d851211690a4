#include "tests/pallas/host_tensor.h"

#include "sophia/graph/ops/shape_ops.h"

namespace sophia::pallas {

std::span<const std::byte> HostTensor::bytes() const {
  return shape.dtype == DType::kF32 ? std::as_bytes(std::span(floats))
                                    : std::as_bytes(std::span(integers));
}

Shape HostShape(const Shape& shape) {
  return {IsFloat(shape.dtype) ? DType::kF32 : DType::kS32, shape.dims};
}

Tensor AddHostInput(Graph& graph, const Shape& shape, const std::string& name) {
  return Convert(graph.AddInput(HostShape(shape), {.name = name}), shape.dtype);
}

void AddHostOutput(Graph& graph, const Tensor& value, const std::string& name) {
  graph.AddOutput(Convert(value, HostShape(value.shape()).dtype), {.name = name});
}

std::vector<HostTensor> RunOnce(const pjrt::Client& client, const Graph& graph,
                                const std::vector<HostTensor>& inputs) {
  const Program program = Program::Compile(
      client, graph, {.overrides = {{"xla_backend_optimization_level", int64_t{0}}}});
  std::vector<pjrt::Buffer> buffers;
  for (const HostTensor& input : inputs) {
    buffers.push_back(
        pjrt::Buffer::FromHost(client.addressable_devices()[0], input.shape, input.bytes()));
  }
  std::vector<pjrt::Buffer*> arguments;
  for (pjrt::Buffer& buffer : buffers) arguments.push_back(&buffer);
  const std::vector<pjrt::Buffer> outputs = program.Run(arguments);
  std::vector<HostTensor> results;
  for (size_t i = 0; i < outputs.size(); ++i) {
    HostTensor result{.shape = program.outputs()[i].shape};
    if (result.shape.dtype == DType::kF32) {
      result.floats = outputs[i].ToVector<float>();
    } else {
      result.integers = outputs[i].ToVector<int32_t>();
    }
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace sophia::pallas
