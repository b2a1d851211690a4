// Gradients of all functions that have one, interpreted and in plain ops, against central
// differences along random directions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "sophia/autodiff/autodiff.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/pjrt/test_support.h"
#include "tests/kernels/run_case.h"

namespace sophia::kernels {
namespace {

using pallas::HostTensor;
using pallas::Mode;

constexpr int kDirections = 2;
constexpr double kStep = 0.01;
constexpr int64_t kMostElements = 135'000;

// Small cases in f32: differences of bf16 results are rounding.
bool IsSmooth(const KernelCase& test) {
  int64_t elements = 0;
  bool differentiates = false;
  for (const CaseInput& input : test.inputs) {
    if (input.shape.dtype == DType::kBF16) return false;
    elements += input.shape.elements();
    differentiates = differentiates || input.differentiate;
  }
  return differentiates && elements <= kMostElements;
}

std::vector<KernelCase> SmoothCases() {
  std::vector<KernelCase> cases = AllCases();
  std::erase_if(cases, [](const KernelCase& test) { return !IsSmooth(test); });
  return cases;
}

// The loss whose gradient TraceCase gives, summed in f64.
Tensor WideLoss(const std::vector<Tensor>& outputs) {
  Tensor loss = Scalar(DType::kF64, 0);
  for (const Tensor& output : outputs) {
    const Tensor weight = Convert(SineWeights(output.dims()), DType::kF64);
    loss = loss + Sum(Convert(output, DType::kF64) * weight);
  }
  return loss;
}

Tensor Dot64(const Tensor& a, const Tensor& b) {
  return Sum(Convert(a, DType::kF64) * Convert(b, DType::kF64));
}

// Outputs for each direction: the gradient times it, the difference quotient; then the gradient's
// norm.
void Trace(const KernelCase& test, const std::vector<Tensor>& inputs,
           const std::vector<Tensor>& directions, Mode mode, Graph& graph) {
  const KernelTarget target{.mode = mode};
  const CaseResults results = TraceCase(test, inputs, target);
  const size_t count = results.grads.size();
  const auto loss_at = [&](size_t first, double step) {
    std::vector<Tensor> moved = inputs;
    size_t next = first;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (test.inputs[i].differentiate) moved[i] = inputs[i] + directions[next++] * step;
    }
    return WideLoss(test.trace(moved, target));
  };
  Tensor square = Scalar(DType::kF64, 0);
  for (const Tensor& grad : results.grads) square = square + Dot64(grad, grad);
  for (size_t first = 0; first < directions.size(); first += count) {
    Tensor slope = Scalar(DType::kF64, 0);
    for (size_t i = 0; i < count; ++i) {
      slope = slope + Dot64(results.grads[i], directions[first + i]);
    }
    const Tensor difference = loss_at(first, kStep) - loss_at(first, -kStep);
    pallas::AddHostOutput(graph, slope, "slope");
    pallas::AddHostOutput(graph, difference * (0.5 / kStep), "difference");
  }
  pallas::AddHostOutput(graph, Sqrt(square), "norm");
}

class FiniteDifferenceTest : public testing::TestWithParam<KernelCase> {};

TEST_P(FiniteDifferenceTest, EqualsTheGradient) {
  const KernelCase& test = GetParam();
  std::vector<HostTensor> values = DrawInputs(test);
  Graph graph;
  {
    const Tracing tracing(graph);
    const std::vector<Tensor> inputs = AddInputs(graph, test);
    std::vector<Tensor> directions;
    std::mt19937 random(11);
    std::normal_distribution<float> normal;
    for (int i = 0; i < kDirections; ++i) {
      for (const CaseInput& input : test.inputs) {
        if (!input.differentiate) continue;
        directions.push_back(pallas::AddHostInput(graph, input.shape, "direction"));
        HostTensor drawn{.shape = pallas::HostShape(input.shape)};
        drawn.floats.resize(static_cast<size_t>(input.shape.elements()));
        std::ranges::generate(drawn.floats, [&] { return normal(random); });
        values.push_back(std::move(drawn));
      }
    }
    for (const Mode mode : {Mode::kInterpret, Mode::kReference}) {
      Trace(test, inputs, directions, mode, graph);
    }
  }
  const std::vector<HostTensor> results = pallas::RunOnce(pjrt::SharedCpuClient(), graph, values);
  for (size_t mode = 0; mode < 2; ++mode) {
    const size_t begin = mode * (2 * kDirections + 1);
    const double norm = results[begin + 2 * kDirections].floats[0];
    for (size_t i = begin; i < begin + 2 * kDirections; i += 2) {
      EXPECT_NEAR(results[i].floats[0], results[i + 1].floats[0], 2e-3 * norm)
          << (mode == 0 ? "interpreted" : "reference") << ", norm " << norm;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, FiniteDifferenceTest, testing::ValuesIn(SmoothCases()),
                         [](const auto& test) { return test.param.name; });

TEST(FiniteDifferenceCasesTest, CoverEveryFunctionWithAGradient) {
  for (auto* const cases : {AttentionCases, DropoutCases, FlashCases, GluCases,
                            LinearCrossEntropyCases, QuantMatMulCases, RmsNormCases, RotaryCases}) {
    const std::vector<KernelCase> all = cases();
    EXPECT_TRUE(std::ranges::any_of(all, IsSmooth)) << all[0].name;
  }
}

TEST(FiniteDifferenceCasesTest, CoverTheVariantsOfFlashAttention) {
  std::set<std::string> covered;
  for (const KernelCase& test : FlashCases()) {
    if (IsSmooth(test)) covered.insert(test.name);
  }
  EXPECT_THAT(covered,
              testing::IsSupersetOf(
                  {"flash_causal", "flash_all_keys_ragged", "flash_grouped", "flash_one_kv_head",
                   "flash_window", "flash_window_segments_grouped", "flash_soft_cap",
                   "flash_soft_cap_segments", "flash_segments", "flash_segments_of_one",
                   "flash_head_80", "flash_head_96", "flash_columns_ragged", "flash_head_256"}));
}

}  // namespace
}  // namespace sophia::kernels
