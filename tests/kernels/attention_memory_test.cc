// Reference attention of long sequences never holds all scores.
#include <gtest/gtest.h>

#include <algorithm>

#include "sophia/autodiff/autodiff.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/kernels/attention_reference.h"

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

}  // namespace
}  // namespace sophia::kernels
