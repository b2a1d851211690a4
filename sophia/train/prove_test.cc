#include "sophia/train/prove.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/pjrt/test_support.h"

namespace sophia::train {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::vector<nn::ParamSpec> kSpecs = {
    {.path = "model.norm.weight", .dims = {2}, .dtype = DType::kF32},
    {.path = "q_proj.lora_A.weight", .dims = {2}, .dtype = DType::kF32, .trainable = true},
    {.path = "q_proj.weight", .dims = {2}, .dtype = DType::kF32},
};

std::vector<std::string> HashesOf(const std::vector<std::vector<float>>& values) {
  const pjrt::Device device = pjrt::SharedCpuClient().default_device();
  std::vector<pjrt::Buffer> buffers;
  for (const std::vector<float>& one : values) {
    buffers.push_back(pjrt::Buffer::FromHost(device, {DType::kF32, {2}}, one));
  }
  return BaseHashes(kSpecs, buffers);
}

ProofResult Compare(const std::vector<std::string>& before, const std::vector<std::string>& after) {
  return {.moved = CompareBase(kSpecs, before, after), .loss_fell = true, .gradients_flow = true};
}

TEST(ProveTest, FailsWhenOneBitOfABaseWeightMoves) {
  const std::vector<std::string> before = HashesOf({{1, 2}, {3, 4}, {5, 0.0f}});
  const ProofResult moved = Compare(before, HashesOf({{1, 2}, {3, 4}, {5, -0.0f}}));
  EXPECT_THAT(moved.moved, ElementsAre("q_proj.weight"));
  EXPECT_FALSE(moved.holds());
}

TEST(ProveTest, NamesTheFirstFewThatMoved) {
  EXPECT_EQ(MovedNames({"a"}), "moved: a");
  EXPECT_EQ(MovedNames({"a", "b", "c"}), "moved: a, b, c");
  EXPECT_EQ(MovedNames({"a", "b", "c", "d", "e"}), "moved: a, b, c and 2 more");
}

TEST(ProveTest, HoldsWhenTrainedWeightsAloneMove) {
  const std::vector<std::string> before = HashesOf({{1, 2}, {3, 4}, {5, 6}});
  ProofResult result = Compare(before, HashesOf({{1, 2}, {7, 8}, {5, 6}}));
  EXPECT_THAT(result.moved, IsEmpty());
  EXPECT_TRUE(result.holds());
  result.loss_fell = false;
  EXPECT_FALSE(result.holds());
}

}  // namespace
}  // namespace sophia::train
