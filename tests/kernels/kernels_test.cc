// Every kernel interpreted on the CPU against the same function in plain ops, with gradients.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "sophia/pjrt/test_support.h"
#include "tests/kernels/run_case.h"

namespace sophia::kernels {
namespace {

using pallas::HostTensor;
using pallas::Mode;

double Largest(const HostTensor& x) {
  double largest = 0;
  for (const float value : x.floats) {
    if (std::isfinite(value)) largest = std::max(largest, std::abs(static_cast<double>(value)));
  }
  return largest;
}

class KernelsTest : public testing::TestWithParam<KernelCase> {};

TEST_P(KernelsTest, InterpretedEqualsReference) {
  const KernelCase& test = GetParam();
  Graph graph;
  {
    const Tracing tracing(graph);
    const std::vector<Tensor> inputs = AddInputs(graph, test);
    for (const Mode mode : {Mode::kInterpret, Mode::kReference}) {
      const CaseResults results = TraceCase(test, inputs, {.mode = mode});
      for (const Tensor& output : results.outputs) pallas::AddHostOutput(graph, output, "out");
      for (const Tensor& grad : results.grads) pallas::AddHostOutput(graph, grad, "grad");
    }
  }
  const std::vector<HostTensor> results =
      pallas::RunOnce(pjrt::SharedCpuClient(), graph, DrawInputs(test));
  const size_t count = results.size() / 2;
  double largest = 0;
  for (size_t i = 0; i < count; ++i) largest = std::max(largest, Largest(results[count + i]));
  for (size_t i = 0; i < count; ++i) {
    const HostTensor &got = results[i], &want = results[count + i];
    EXPECT_EQ(got.integers, want.integers) << "result " << i;
    // A result that vanishes but for rounding is compared on the scale of the others.
    const double own = Largest(want);
    const double scale = own > 1e-4 * largest ? own : largest;
    ASSERT_EQ(got.floats.size(), want.floats.size());
    for (size_t j = 0; j < want.floats.size(); ++j) {
      ASSERT_NEAR(got.floats[j], want.floats[j], test.tolerance * scale)
          << graph.outputs()[i].name << " " << i << ", element " << j;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, KernelsTest, testing::ValuesIn(AllCases()),
                         [](const auto& test) { return test.param.name; });

TEST(KernelCasesTest, NamesDiffer) {
  std::set<std::string> names;
  for (const KernelCase& test : AllCases()) {
    EXPECT_TRUE(names.insert(test.name).second) << test.name;
  }
}

}  // namespace
}  // namespace sophia::kernels
