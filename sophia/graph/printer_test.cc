#include "sophia/graph/printer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/special_ops.h"

namespace sophia {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

TEST(PrinterTest, SameTraceSameBytes) {
  const auto trace = [] {
    Graph graph;
    const Tensor x = graph.AddInput({DType::kF32, {2, 3}}, {.name = "x"});
    const Tracing tracing(graph);
    graph.AddOutput(Sum(Exp(x) * 2.0), {.name = "y"});
    return ToStableHlo(graph);
  };
  EXPECT_EQ(trace(), trace());
  EXPECT_THAT(trace(), HasSubstr("stablehlo.exponential"));
}

TEST(PrinterTest, LeavesDeadNodesOut) {
  Graph graph;
  const Tensor x = graph.AddInput({DType::kF32, {3}}, {.name = "x"});
  const Tracing tracing(graph);
  Sin(x);
  const ScanResult result = Scan(
      [](std::span<const Tensor> carry, std::span<const Tensor>) -> ScanStep {
        return {{carry[0] + 1.0}, {Tanh(carry[0])}};
      },
      {x}, {}, {.length = 3});
  graph.AddOutput(result.carry[0], {.name = "y"});
  EXPECT_THAT(ToStableHlo(graph), Not(HasSubstr("stablehlo.sine")));
  EXPECT_THAT(ToStableHlo(graph), Not(HasSubstr("stablehlo.tanh")));
}

TEST(PrinterTest, PrecisionIsThatOfBothOperands) {
  Graph graph;
  const Tensor x = graph.AddInput({DType::kF32, {3, 3}}, {.name = "x"});
  const Tracing tracing(graph);
  graph.AddOutput(MatMul(x, x, {.precision = Precision::kHighest}), {.name = "y"});
  EXPECT_THAT(ToStableHlo(graph), HasSubstr("precision_config = [#stablehlo<precision HIGHEST>, "
                                            "#stablehlo<precision HIGHEST>]"));
}

TEST(PrinterTest, AliasingAndShardingAreAttributes) {
  Graph graph;
  graph.set_mesh({{"data", 2}});
  const Tensor x = graph.AddInput({DType::kF32, {4, 3}},
                                  {.name = "x", .sharding = Sharding{.axes = {{"data"}, {}}}});
  const Tracing tracing(graph);
  graph.AddOutput(x + 1.0, {.name = "y", .aliases_input = 0});
  const std::string text = ToStableHlo(graph);
  EXPECT_THAT(text, HasSubstr("sdy.mesh @mesh = <[\"data\"=2]>"));
  EXPECT_THAT(text, HasSubstr("tf.aliasing_output = 0 : i32"));
  EXPECT_THAT(text, HasSubstr("sdy.sharding = #sdy.sharding<@mesh, [{\"data\"}, {}]>"));
}

TEST(TraceTest, ErrorsNameTheCallSite) {
  Graph graph;
  const Tensor x = graph.AddInput({DType::kF32, {2, 3}}, {.name = "x"});
  const Tensor y = graph.AddInput({DType::kF32, {4}}, {.name = "y"});
  const Tracing tracing(graph);
  EXPECT_THAT([&] { x + y; }, ThrowsMessage<Error>(HasSubstr("printer_test.cc")));
  EXPECT_THAT([&] { x + y; }, ThrowsMessage<Error>(HasSubstr("got [2, 3] and [4]")));
  EXPECT_THAT([&] { MatMul(x, x); }, ThrowsMessage<Error>(HasSubstr("printer_test.cc")));
  EXPECT_THAT([&] { Reshape(x, {4, -1}); }, ThrowsMessage<Error>(HasSubstr("f32[2, 3]")));
  EXPECT_THAT([&] { x + Convert(x, DType::kBF16); },
              ThrowsMessage<Error>(HasSubstr("one element type")));
}

TEST(OpTableTest, NamesAreUnique) {
  std::vector<std::string_view> names;
  for (const OpDef* op : AllOps()) names.push_back(op->name);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  EXPECT_GT(names.size(), 60u);
}

}  // namespace
}  // namespace sophia
