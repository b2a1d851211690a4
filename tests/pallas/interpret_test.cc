// Kernels interpreted on the CPU against the same functions in plain ops.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "sophia/graph/ops/shape_ops.h"
#include "sophia/runtime/program.h"
#include "tests/pallas/kernels.h"

namespace sophia::pallas {
namespace {

const pjrt::Client& Cpu() {
  static const std::shared_ptr<const pjrt::Client> client =
      pjrt::Client::Create(pjrt::Plugin::Load(SOPHIA_DEPS_DIR "/plugins/pjrt_cpu.so"));
  return *client;
}

pjrt::Buffer RandomBuffer(const TestKernel& kernel, const Shape& shape, std::mt19937& random) {
  const pjrt::Device device = Cpu().addressable_devices()[0];
  const auto count = static_cast<size_t>(shape.elements());
  if (IsInteger(shape.dtype)) {
    std::vector<int32_t> values(count);
    for (int32_t& value : values) value = static_cast<int32_t>(random() % kernel.below);
    return pjrt::Buffer::FromHost(device, shape, values);
  }
  std::vector<float> values(count);
  std::normal_distribution<float> normal;
  for (float& value : values) value = normal(random);
  return pjrt::Buffer::FromHost(device, shape, values);
}

// Inputs and outputs are f32 or s32; narrower floats are converted inside the program.
Tensor AddInputOf(Graph& graph, const Shape& shape) {
  const bool is_float = IsFloat(shape.dtype);
  const Tensor input =
      graph.AddInput({is_float ? DType::kF32 : DType::kS32, shape.dims}, {.name = "x"});
  return sophia::Convert(input, shape.dtype);
}

class InterpretTest : public testing::TestWithParam<TestKernel> {};

TEST_P(InterpretTest, EqualsReference) {
  const TestKernel& kernel = GetParam();
  Graph graph;
  {
    const Tracing tracing(graph);
    std::vector<Tensor> inputs;
    for (const Shape& shape : kernel.inputs) inputs.push_back(AddInputOf(graph, shape));
    for (const Mode mode : {Mode::kInterpret, Mode::kReference}) {
      const CallOptions options{.mode = mode, .reference = kernel.reference};
      for (const Tensor& output : PallasCall(kernel.spec, kernel.body, inputs, options)) {
        graph.AddOutput(sophia::Convert(output, DType::kF32), {.name = "y"});
      }
    }
  }
  const Program program = Program::Compile(Cpu(), graph);
  std::mt19937 random(7);
  std::vector<pjrt::Buffer> inputs;
  std::vector<pjrt::Buffer*> arguments;
  for (const Shape& shape : kernel.inputs) {
    const Shape host{IsFloat(shape.dtype) ? DType::kF32 : DType::kS32, shape.dims};
    inputs.push_back(RandomBuffer(kernel, host, random));
  }
  for (pjrt::Buffer& input : inputs) arguments.push_back(&input);
  const std::vector<pjrt::Buffer> results = program.Run(arguments);
  const size_t outputs = results.size() / 2;
  ASSERT_GT(outputs, 0u);
  for (size_t i = 0; i < outputs; ++i) {
    const auto got = results[i].ToVector<float>();
    const auto want = results[outputs + i].ToVector<float>();
    float largest = 0;
    float error = 0;
    for (size_t j = 0; j < want.size(); ++j) {
      largest = std::max(largest, std::abs(want[j]));
      const float difference = std::abs(got[j] - want[j]);
      error = std::isnan(difference) ? INFINITY : std::max(error, difference);
    }
    EXPECT_GT(largest, 0);
    EXPECT_LE(error, kernel.tolerance * largest) << "output " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, InterpretTest, testing::ValuesIn(AllTestKernels()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace sophia::pallas
