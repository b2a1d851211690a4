#include "tests/pallas/run.h"

#include <random>

#include "sophia/graph/ops/shape_ops.h"

namespace sophia::pallas {
namespace {

Shape HostShape(const Shape& shape) {
  return {IsFloat(shape.dtype) ? DType::kF32 : DType::kS32, shape.dims};
}

}  // namespace

std::span<const std::byte> HostTensor::bytes() const {
  return shape.dtype == DType::kF32 ? std::as_bytes(std::span(floats))
                                    : std::as_bytes(std::span(integers));
}

std::vector<HostTensor> RandomInputs(const TestKernel& kernel, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<HostTensor> inputs;
  for (const Shape& shape : kernel.inputs) {
    HostTensor input{.shape = HostShape(shape)};
    for (int64_t i = 0; i < shape.elements(); ++i) {
      if (input.shape.dtype == DType::kF32) {
        input.floats.push_back(normal(random));
      } else {
        input.integers.push_back(
            static_cast<int32_t>(random() % static_cast<uint32_t>(kernel.below)));
      }
    }
    inputs.push_back(std::move(input));
  }
  return inputs;
}

std::vector<std::vector<HostTensor>> RunKernel(const pjrt::Client& client, const TestKernel& kernel,
                                               const std::vector<Mode>& modes,
                                               const std::vector<HostTensor>& inputs) {
  Graph graph;
  {
    const Tracing tracing(graph);
    std::vector<Tensor> tensors;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Tensor input = graph.AddInput(inputs[i].shape, {.name = fmt::format("in{}", i)});
      tensors.push_back(sophia::Convert(input, kernel.inputs[i].dtype));
    }
    for (const Mode mode : modes) {
      const CallOptions options{.mode = mode, .reference = kernel.reference};
      for (const Tensor& output : PallasCall(kernel.spec, kernel.body, tensors, options)) {
        graph.AddOutput(sophia::Convert(output, HostShape(output.shape()).dtype), {.name = "out"});
      }
    }
  }
  const Program program = Program::Compile(client, graph);
  const pjrt::Device device = client.addressable_devices()[0];
  std::vector<pjrt::Buffer> buffers;
  std::vector<pjrt::Buffer*> arguments;
  for (const HostTensor& input : inputs) {
    buffers.push_back(pjrt::Buffer::FromHost(device, input.shape, input.bytes()));
  }
  for (pjrt::Buffer& buffer : buffers) arguments.push_back(&buffer);
  const std::vector<pjrt::Buffer> outputs = program.Run(arguments);
  std::vector<std::vector<HostTensor>> results(modes.size());
  const size_t count = outputs.size() / modes.size();
  for (size_t i = 0; i < outputs.size(); ++i) {
    HostTensor result{.shape = program.outputs()[i].shape};
    if (result.shape.dtype == DType::kF32) {
      result.floats = outputs[i].ToVector<float>();
    } else {
      result.integers = outputs[i].ToVector<int32_t>();
    }
    results[i / count].push_back(std::move(result));
  }
  return results;
}

}  // namespace sophia::pallas
