#include "tests/pallas/run.h"

#include <random>

namespace sophia::pallas {

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
    for (const Shape& shape : kernel.inputs) tensors.push_back(AddHostInput(graph, shape, "in"));
    for (const Mode mode : modes) {
      const CallOptions options{.mode = mode, .reference = kernel.reference};
      for (const Tensor& output : PallasCall(kernel.spec, kernel.body, tensors, options)) {
        AddHostOutput(graph, output, "out");
      }
    }
  }
  std::vector<HostTensor> outputs = RunOnce(client, graph, inputs);
  std::vector<std::vector<HostTensor>> results(modes.size());
  const size_t count = outputs.size() / modes.size();
  for (size_t i = 0; i < outputs.size(); ++i) {
    results[i / count].push_back(std::move(outputs[i]));
  }
  return results;
}

}  // namespace sophia::pallas
