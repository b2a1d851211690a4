#include "sophia/nn/isomorphism.h"

#include <gmock/gmock.h>

namespace sophia::nn {
namespace {

using ::testing::ElementsAre;

TEST(LayersAtTheSameDepthTest, EndsWithTheLast) {
  EXPECT_THAT(LayersAtTheSameDepth(3, 3), ElementsAre(0, 1, 2));
  EXPECT_THAT(LayersAtTheSameDepth(2, 6), ElementsAre(2, 5));
  EXPECT_THAT(LayersAtTheSameDepth(4, 2), ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(LayersAtTheSameDepth(3, 2), ElementsAre(0, 1, 1));
  EXPECT_THAT(LayersAtTheSameDepth(3, 1), ElementsAre(0, 0, 0));
}

}  // namespace
}  // namespace sophia::nn
