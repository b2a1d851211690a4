// Attention over long sequences never holds all scores.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "sophia/autodiff/autodiff.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/kernels/attention_reference.h"
#include "sophia/kernels/flash_attention.h"
#include "sophia/pallas/pallas_call.h"

namespace sophia::kernels {
namespace {

int64_t LargestResult(const Region& region) {
  int64_t largest = 0;
  for (const auto& node : region.nodes) {
    for (const Shape& result : node->results) largest = std::max(largest, result.elements());
    for (const auto& inner : node->regions) largest = std::max(largest, LargestResult(*inner));
  }
  return largest;
}

TEST(AttentionMemoryTest, NoArrayIsLargerThanTheScoresOfABlock) {
  constexpr int64_t kMaxScores = 1 << 20;
  for (const int64_t length : {4096, 4098, 4099}) {  // even, twice an odd number, a prime
    Graph graph;
    const Tracing tracing(graph);
    const auto input = [&] { return graph.AddInput({DType::kBF16, {1, length, 2, 16}}, {}); };
    const std::vector<Tensor> qkv = {input(), input(), input()};
    ValueAndGrad(
        [](std::span<const Tensor> p) -> Loss {
          return {Sum(ReferenceAttention(p[0], p[1], p[2], {}, kMaxScores))};
        },
        qkv);
    EXPECT_LE(LargestResult(graph.main()), kMaxScores) << length;
    EXPECT_GT(LargestResult(graph.main()), kMaxScores / 4) << length;
  }
}

// With the kernels nothing is larger than queries, and the statistics that forward leaves for
// backward are rows.
TEST(AttentionMemoryTest, KernelsKeepRowsOfStatistics) {
  constexpr int64_t kLength = 131072;
  Graph graph;
  const Tracing tracing(graph);
  const auto input = [&](int64_t heads) {
    return graph.AddInput({DType::kBF16, {1, kLength, heads, 128}}, {});
  };
  std::vector<Shape> statistics;
  const pallas::CallObserver observer(
      [&](const pallas::Kernel& kernel, std::span<const Tensor>, std::span<const Tensor> out) {
        if (kernel.spec.name == "flash_attention") statistics.push_back(out[1].shape());
      });
  ValueAndGrad(
      [](std::span<const Tensor> p) -> Loss {
        return {Sum(FlashAttention(p[0], p[1], p[2], {pallas::Mode::kMosaic, pallas::Chip::kV5e},
                                   {.causal = true}))};
      },
      {input(4), input(2), input(2)});
  EXPECT_THAT(statistics, testing::ElementsAre(Shape{DType::kF32, {1, 4, 1, kLength}}));
  EXPECT_EQ(LargestResult(graph.main()), kLength * 4 * 128);
}

}  // namespace
}  // namespace sophia::kernels
