#include "sophia/nn/tokenwise.h"

#include <gtest/gtest.h>

namespace sophia::nn {
namespace {

TEST(TileCountTest, DividesWhereItCan) {
  EXPECT_EQ(TileCount(8192, 2048), 4);
  EXPECT_EQ(TileCount(3072, 2048), 2);
  EXPECT_EQ(TileCount(4224, 512), 11);  // of 384; nine would leave one of 128
  EXPECT_EQ(TileCount(23, 5), 5);       // a prime: the last tile is padded
  EXPECT_EQ(TileCount(3, 2), 3);
  EXPECT_EQ(TileCount(7, 1), 7);
}

}  // namespace
}  // namespace sophia::nn
