#include "tests/optim/optim_run.h"

#include <utility>

#include "sophia/base/float_bits.h"
#include "sophia/graph/graph.h"
#include "sophia/runtime/program.h"

namespace sophia::optim {
namespace {

using pjrt::Buffer;

Buffer ToDevice(const pjrt::Client& client, const Shape& shape, const Values& values) {
  if (shape.dtype == DType::kBF16) {
    std::vector<uint16_t> halves;
    for (const double value : values) halves.push_back(FloatToBf16(static_cast<float>(value)));
    return Buffer::FromHost(client.default_device(), shape, halves);
  }
  return Buffer::FromHost(client.default_device(), shape,
                          std::vector<float>(values.begin(), values.end()));
}

Values ToHost(const Buffer& buffer) {
  Values values;
  if (buffer.shape().dtype == DType::kBF16) {
    for (const uint16_t half : buffer.ToVector<uint16_t>()) values.push_back(Bf16ToFloat(half));
    return values;
  }
  if (buffer.shape().dtype == DType::kU8) {
    for (const uint8_t code : buffer.ToVector<uint8_t>()) values.push_back(code);
    return values;
  }
  for (const float value : buffer.ToVector<float>()) values.push_back(value);
  return values;
}

// One step as a graph. Inputs: step, gradients, curvatures, parameters, state. Outputs: rate, norm,
// parameters, state.
void TraceStep(const OptimCase& test, const std::vector<Slot>& slots, Graph& graph) {
  UpdateArgs args{.parameters = test.parameters};
  args.step = graph.AddInput({DType::kS32, {}}, {.name = "step"});
  const auto add_inputs = [&](const std::string& kind) {
    TensorList inputs;
    for (const NamedShape& parameter : test.parameters) {
      const Shape shape{DType::kF32, parameter.shape.dims};
      inputs.push_back(graph.AddInput(shape, {.name = kind + "/" + parameter.name}));
    }
    return inputs;
  };
  args.grads = add_inputs("grad");
  if (!test.curvatures.empty()) {
    args.curvature = [inputs = add_inputs("curvature")] { return inputs; };
  }
  for (const NamedShape& parameter : test.parameters) {
    args.params.push_back(graph.AddInput(parameter.shape, {.name = parameter.name}));
  }
  for (const Slot& slot : slots) {
    args.state.push_back(graph.AddInput(slot.shape, {.name = slot.name}));
  }
  const Tracing tracing(graph);
  const Applied next = Apply(test.transform, args);
  graph.AddOutput(LearningRate(test.schedule, args.step), {.name = "learning_rate"});
  graph.AddOutput(GlobalNorm(args.grads), {.name = "grad_norm"});
  for (const Tensor& param : next.params) graph.AddOutput(param, {});
  for (const Tensor& slot : next.state) graph.AddOutput(slot, {});
}

}  // namespace

std::vector<OptimStep> RunOptim(const pjrt::Client& client, const OptimCase& test) {
  const std::vector<Slot> slots = test.transform.slots(test.parameters);
  Graph graph;
  TraceStep(test, slots, graph);
  const Program program = Program::Compile(client, graph);

  std::vector<Buffer> kept;
  for (size_t i = 0; i < test.parameters.size(); ++i) {
    kept.push_back(ToDevice(client, test.parameters[i].shape, test.initial[i]));
  }
  for (const Slot& slot : slots) {
    kept.push_back(Buffer::FromHost(client.default_device(), slot.shape, InitialBytes(slot)));
  }
  std::vector<OptimStep> steps;
  for (const std::vector<Values>& grads : test.grads) {
    std::vector<Buffer> given;
    given.push_back(Buffer::FromHost(client.default_device(), {DType::kS32, {}},
                                     std::vector{static_cast<int32_t>(steps.size())}));
    const auto add = [&](const std::vector<Values>& tensors) {
      for (size_t i = 0; i < tensors.size(); ++i) {
        const Shape shape{DType::kF32, test.parameters[i].shape.dims};
        given.push_back(ToDevice(client, shape, tensors[i]));
      }
    };
    add(grads);
    if (!test.curvatures.empty()) add(test.curvatures[steps.size()]);
    std::vector<Buffer*> arguments;
    for (Buffer& buffer : given) arguments.push_back(&buffer);
    for (Buffer& buffer : kept) arguments.push_back(&buffer);
    std::vector<Buffer> outputs = program.Run(arguments);

    OptimStep& step = steps.emplace_back();
    step.learning_rate = ToHost(outputs[0])[0];
    step.grad_norm = ToHost(outputs[1])[0];
    kept.clear();
    for (size_t i = 2; i < outputs.size(); ++i) kept.push_back(std::move(outputs[i]));
    for (size_t i = 0; i < kept.size(); ++i) {
      (i < test.parameters.size() ? step.params : step.state).push_back(ToHost(kept[i]));
    }
  }
  return steps;
}

}  // namespace sophia::optim
