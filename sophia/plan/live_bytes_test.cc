#include "sophia/plan/live_bytes.h"

#include <gtest/gtest.h>

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/special_ops.h"

namespace sophia::plan {
namespace {

constexpr int64_t kSquare = 64 * 64 * 4;
const Shape kMatrix = {DType::kF32, {64, 64}};

TEST(LiveBytesTest, FreesWhatIsReadForTheLastTime) {
  Graph graph;
  const Tensor x = graph.AddInput(kMatrix, {});
  const Tracing tracing(graph);
  Tensor y = x;
  for (int i = 0; i < 5; ++i) y = MatMul(y, x);
  MatMul(y, y);  // no output needs it
  graph.AddOutput(y, {});
  EXPECT_EQ(LiveBytes(graph), 3 * kSquare);
}

TEST(LiveBytesTest, FusesElementwiseResultsWithOneReader) {
  Graph graph;
  const Tensor x = graph.AddInput(kMatrix, {});
  const Tracing tracing(graph);
  graph.AddOutput(MatMul(Exp(x + 1.0), x), {});
  EXPECT_EQ(LiveBytes(graph), 2 * kSquare);
}

TEST(LiveBytesTest, DonatedInputsMakeRoomForOutputs) {
  Graph graph;
  const Tensor x = graph.AddInput(kMatrix, {});
  const Tracing tracing(graph);
  graph.AddOutput(MatMul(x, x), {.name = "y", .aliases_input = 0});
  EXPECT_EQ(LiveBytes(graph), kSquare);
}

// Beside the input: the carry, the stacked results, and of the body one product and its square.
TEST(LiveBytesTest, CountsABodyOnceAndStacksItsResults) {
  Graph graph;
  const Tensor x = graph.AddInput(kMatrix, {});
  const Tracing tracing(graph);
  const ScanBody body = [&](std::span<const Tensor> carry, std::span<const Tensor>) -> ScanStep {
    const Tensor product = MatMul(carry[0], x);
    return {{MatMul(product, product)}, {product}};
  };
  const ScanResult result = Scan(body, {MatMul(x, x)}, {}, {.length = 10});
  graph.AddOutput(result.carry[0], {});
  graph.AddOutput(result.ys[0], {});
  const int64_t with_stack = LiveBytes(graph);
  EXPECT_GE(with_stack, (1 + 1 + 10 + 2) * kSquare);
  EXPECT_LE(with_stack, (1 + 1 + 10 + 3) * kSquare);
}

TEST(LiveBytesTest, WhatLiesOnTheHostTakesNothing) {
  Graph graph;
  const Tensor x = graph.AddInput(kMatrix, {});
  const Tracing tracing(graph);
  const ScanBody body = [&](std::span<const Tensor> carry, std::span<const Tensor>) -> ScanStep {
    const Tensor product = MatMul(carry[0], x);
    return {{product}, {Place(product, Placement::kPinnedHost)}};
  };
  const ScanResult result = Scan(body, {x}, {}, {.length = 10});
  graph.AddOutput(result.carry[0], {});
  graph.AddOutput(result.ys[0], {});
  EXPECT_LE(LiveBytes(graph), 3 * kSquare);
}

}  // namespace
}  // namespace sophia::plan
