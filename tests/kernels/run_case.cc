#include "tests/kernels/run_case.h"

#include "sophia/autodiff/autodiff.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::kernels {
using pallas::HostTensor;

void PrintTo(const KernelCase& test, std::ostream* stream) { *stream << test.name; }

Tensor SineWeights(const Dims& dims) {
  const Tensor index = Iota({DType::kS32, {Product(dims)}}, 0);
  return Sin(Reshape(Convert(index, DType::kF32), dims));
}

namespace {

// sum(output · sin(flat index)) over the float outputs.
Tensor LossOf(const std::vector<Tensor>& outputs) {
  Tensor loss = Scalar(DType::kF32, 0);
  for (const Tensor& output : outputs) {
    if (!IsFloat(output.dtype())) continue;
    loss = loss + Sum(Convert(output, DType::kF32) * SineWeights(output.dims()));
  }
  return loss;
}

}  // namespace

std::vector<HostTensor> DrawInputs(const KernelCase& test) {
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  std::vector<HostTensor> inputs;
  for (const CaseInput& input : test.inputs) {
    HostTensor values{.shape = pallas::HostShape(input.shape)};
    const bool is_float = values.shape.dtype == DType::kF32;
    for (int64_t i = 0; i < input.shape.elements(); ++i) {
      const double value = input.fill != nullptr ? input.fill(i, random)
                           : is_float            ? normal(random)
                                                 : static_cast<double>(random() % 4);
      if (is_float) {
        values.floats.push_back(static_cast<float>(value));
      } else {
        values.integers.push_back(static_cast<int32_t>(value));
      }
    }
    inputs.push_back(std::move(values));
  }
  return inputs;
}

std::vector<Tensor> AddInputs(Graph& graph, const KernelCase& test) {
  std::vector<Tensor> inputs;
  for (const CaseInput& input : test.inputs) {
    inputs.push_back(pallas::AddHostInput(graph, input.shape, "in"));
  }
  return inputs;
}

CaseResults TraceCase(const KernelCase& test, const std::vector<Tensor>& inputs,
                      const KernelTarget& target) {
  std::vector<size_t> places;
  std::vector<Tensor> parameters;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!test.inputs[i].differentiate) continue;
    places.push_back(i);
    parameters.push_back(inputs[i]);
  }
  if (parameters.empty()) return {.outputs = test.trace(inputs, target)};
  ValueAndGradResult result = ValueAndGrad(
      [&](std::span<const Tensor> values) -> Loss {
        std::vector<Tensor> all = inputs;
        for (size_t i = 0; i < places.size(); ++i) all[places[i]] = values[i];
        std::vector<Tensor> outputs = test.trace(all, target);
        const Tensor loss = LossOf(outputs);
        return {.value = loss, .aux = std::move(outputs)};
      },
      parameters);
  return {.outputs = std::move(result.aux), .grads = std::move(result.grads)};
}

}  // namespace sophia::kernels
