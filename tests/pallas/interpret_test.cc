// Kernels interpreted on the CPU against the same functions in plain ops.
#include "sophia/pallas/interpret.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "sophia/pjrt/test_support.h"
#include "tests/pallas/run.h"

namespace sophia::pallas {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

class InterpretTest : public testing::TestWithParam<TestKernel> {};

TEST_P(InterpretTest, EqualsReference) {
  const TestKernel& kernel = GetParam();
  const auto results = RunKernel(pjrt::SharedCpuClient(), kernel,
                                 {Mode::kInterpret, Mode::kReference}, RandomInputs(kernel, 7));
  for (size_t i = 0; i < results[0].size(); ++i) {
    const std::vector<float>& got = results[0][i].floats;
    const std::vector<float>& want = results[1][i].floats;
    ASSERT_EQ(got.size(), want.size());
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

INSTANTIATE_TEST_SUITE_P(Kernels, InterpretTest, testing::ValuesIn(SampleKernels()),
                         [](const auto& test) { return test.param.name; });

void CollectOps(const Block& block, std::set<std::string_view>& ops) {
  for (const auto& instr : block.instrs) {
    ops.insert(instr->op->name);
    for (const auto& inner : instr->blocks) CollectOps(*inner, ops);
  }
}

TEST(KernelOpsTest, TestKernelsUseEveryOp) {
  std::set<std::string_view> used;
  for (const auto& tests : {SampleKernels(), OpKernels()}) {
    for (const TestKernel& test : tests) {
      CollectOps(TraceKernel(test.spec, test.body, test.inputs).body, used);
    }
  }
  for (const KernelOp* op : AllKernelOps()) EXPECT_TRUE(used.contains(op->name)) << op->name;
}

TEST(KernelOpsTest, OlderChipsAreRefusedWhileTracing) {
  for (const auto& tests : {SampleKernels(), OpKernels()}) {
    for (const TestKernel& test : tests) {
      for (const ChipInfo& chip : AllChips()) {
        const auto trace = [&] { TraceKernel(test.spec, test.body, test.inputs, chip.chip); };
        if (chip.chip < test.from) {
          EXPECT_THAT(trace, ThrowsMessage<Error>(
                                 AllOf(HasSubstr(fmt::format("kernel '{}': ", test.spec.name)),
                                       HasSubstr(fmt::format("on TPU {}: expected ", chip.name)))))
              << test.name;
        } else {
          EXPECT_NO_THROW(trace()) << test.name << " on " << chip.name;
        }
      }
    }
  }
}

}  // namespace
}  // namespace sophia::pallas
