// Every op compiles, runs, and has the gradient that finite differences give.
#include "tests/opcheck/opcheck.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "sophia/pjrt/test_support.h"

namespace sophia {
namespace {

// A line through the inputs: x + t v for float inputs, v random.
std::vector<HostValue> Moved(const std::vector<HostValue>& inputs,
                             const std::vector<std::vector<double>>& direction, double t) {
  std::vector<HostValue> moved = inputs;
  size_t next = 0;
  for (HostValue& input : moved) {
    if (!IsFloat(input.shape.dtype)) continue;
    for (size_t i = 0; i < input.values.size(); ++i) input.values[i] += t * direction[next][i];
    ++next;
  }
  return moved;
}

// Inner product of the cotangents with the float outputs.
double Weighted(const std::vector<HostValue>& outputs, const std::vector<HostValue>& cotangents) {
  double sum = 0;
  size_t next = 0;
  for (const HostValue& output : outputs) {
    if (!IsFloat(output.shape.dtype)) continue;
    for (size_t i = 0; i < output.values.size(); ++i) {
      sum += output.values[i] * cotangents[next].values[i];
    }
    ++next;
  }
  return sum;
}

class OpCheckTest : public ::testing::TestWithParam<OpSample> {};

TEST_P(OpCheckTest, GradientMatchesFiniteDifferences) {
  const OpSample& sample = GetParam();
  // A gradient that is forbidden must say so when asked for.
  if (!sample.differentiable) {
    EXPECT_NO_THROW(RunSample(pjrt::SharedCpuClient(), sample, 1, true, false));
    EXPECT_THROW(RunSample(pjrt::SharedCpuClient(), sample, 1, true, true), Error);
    return;
  }
  const OpRun run = RunSample(pjrt::SharedCpuClient(), sample, 1, true, true);
  std::mt19937 random(2);
  std::normal_distribution<double> normal;
  std::vector<std::vector<double>> direction;
  double expected = 0;
  double scale = 1e-12;
  for (const HostValue& gradient : run.gradients) {
    direction.emplace_back();
    for (const double g : gradient.values) {
      direction.back().push_back(normal(random));
      expected += g * direction.back().back();
      scale += std::fabs(g * direction.back().back());
    }
  }
  if (direction.empty() || sample.stops_gradient) return;
  const double h = sample.step;
  const auto moved =
      RunForward(pjrt::SharedCpuClient(), sample,
                 {Moved(run.inputs, direction, h), Moved(run.inputs, direction, -h)});
  const double up = Weighted(moved[0], run.cotangents);
  const double down = Weighted(moved[1], run.cotangents);
  EXPECT_NEAR((up - down) / (2 * h), expected, sample.tolerance * scale)
      << "of a gradient of magnitude " << scale;
}

// Those with an f32 input; the others are for the comparison with JAX only.
std::vector<OpSample> WideSamples() {
  std::vector<OpSample> samples = AllSamples();
  std::erase_if(samples, [](const OpSample& sample) {
    return std::none_of(sample.inputs.begin(), sample.inputs.end(),
                        [](const Shape& shape) { return shape.dtype == DType::kF32; });
  });
  return samples;
}

INSTANTIATE_TEST_SUITE_P(AllOps, OpCheckTest, ::testing::ValuesIn(WideSamples()),
                         [](const ::testing::TestParamInfo<OpSample>& info) {
                           std::string name = info.param.name;
                           for (char& c : name) c = std::isalnum(c) != 0 ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace sophia
