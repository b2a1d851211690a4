// Random numbers of interpreted kernels: what the seed decides, and their state over grid, loops
// and branches. A straight line of draws is what every other order of them is compared with.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "sophia/pjrt/test_support.h"
#include "tests/pallas/run.h"

namespace sophia::pallas {
namespace {

constexpr int64_t kDraw = 8 * 128;
const Dims kTile = {8, 128};

using Bits = std::vector<int32_t>;

// What a kernel with two integers in SMEM stores into its tiles, which start as zeros.
Bits Interpreted(int64_t programs, int64_t tiles, const Bits& numbers, const KernelBody& body) {
  const int64_t rows = tiles * 8;
  TestKernel kernel{.name = "random"};
  kernel.spec = {.name = "random",
                 .grid = {programs},
                 .in_specs = {{.block = {1, 2}, .space = MemorySpace::kSmem}},
                 .out_shapes = {{DType::kS32, {programs * rows, 128}}},
                 .out_specs = {{.block = {rows, 128}, .index_map = [](const GridIndex& i) {
                                  return BlockIndex{i[0], 0};
                                }}}};
  kernel.inputs = {{DType::kS32, {1, 2}}};
  kernel.body = [&](const KernelRefs& r) {
    r.out[0].Store(0);
    body(r);
  };
  const std::vector<HostTensor> inputs = {{.shape = kernel.inputs[0], .integers = numbers}};
  return RunKernel(pjrt::SharedCpuClient(), kernel, {Mode::kInterpret}, inputs)[0][0].integers;
}

Val Number(const KernelRefs& r, int64_t i) { return r.in[0].At({0, i}).Load(); }

// Draws into a tile of the output.
void DrawInto(const KernelRefs& r, Arg tile) {
  const Ds rows =
      tile.number() ? Ds(static_cast<int64_t>(*tile.number()) * 8, 8) : Ds(tile.val() * 8, 8);
  r.out[0].At({rows}).Store(PrngBits(kTile));
}

// `count` draws one after the other from a seed.
Bits Line(int32_t seed, int64_t count) {
  return Interpreted(1, count, {seed, 0}, [count](const KernelRefs& r) {
    PrngSeed({Number(r, 0)});
    for (int64_t i = 0; i < count; ++i) DrawInto(r, i);
  });
}

Bits TileOf(const Bits& bits, int64_t tile) {
  return {bits.begin() + tile * kDraw, bits.begin() + (tile + 1) * kDraw};
}

// The share of equal elements: about 2^-32 if they have nothing to do with each other.
double Likeness(const Bits& a, const Bits& b) {
  EXPECT_EQ(a.size(), b.size());
  double equal = 0;
  for (size_t i = 0; i < a.size(); ++i) equal += a[i] == b[i] ? 1 : 0;
  return equal / static_cast<double>(a.size());
}

TEST(RandomTest, TheSeedsDecide) {
  const auto draw = [](const Bits& seeds) {
    return Interpreted(1, 1, seeds, [](const KernelRefs& r) {
      PrngSeed({Number(r, 0), Number(r, 1)});
      DrawInto(r, 0);
    });
  };
  const Bits bits = draw({3, 1});
  EXPECT_EQ(draw({3, 1}), bits);
  for (const Bits& other : {Bits{4, 1}, Bits{3, 2}, Bits{1, 3}, Bits{-3, 1}}) {
    EXPECT_LT(Likeness(draw(other), bits), 0.01) << other[0] << " " << other[1];
  }
}

TEST(RandomTest, ProgramsSeededByTheirIdDiffer) {
  const Bits bits = Interpreted(4, 1, {7, 0}, [](const KernelRefs& r) {
    PrngSeed({Number(r, 0), ProgramId(0)});
    DrawInto(r, 0);
  });
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < i; ++j) {
      EXPECT_LT(Likeness(TileOf(bits, i), TileOf(bits, j)), 0.01) << i << " and " << j;
    }
  }
}

TEST(RandomTest, BitsAreUniform) {
  const Bits bits = Line(11, 8);
  const auto count = static_cast<double>(bits.size());
  double sum = 0;
  std::vector<double> ones(32);
  for (const int32_t value : bits) {
    const auto word = std::bit_cast<uint32_t>(value);
    sum += static_cast<double>(word >> 8) * 0x1p-24;
    for (size_t bit = 0; bit < 32; ++bit) ones[bit] += word >> bit & 1;
  }
  // Five standard deviations.
  EXPECT_NEAR(sum / count, 0.5, 5 * std::sqrt(1 / 12.0 / count));
  for (const double n : ones) EXPECT_NEAR(n / count, 0.5, 5 * std::sqrt(0.25 / count));
  for (int64_t i = 1; i < 8; ++i) {
    EXPECT_LT(Likeness(TileOf(bits, i), TileOf(bits, i - 1)), 0.01) << i;
  }
}

TEST(RandomTest, TheStateGoesOnFromProgramToProgram) {
  const Bits bits = Interpreted(4, 1, {5, 0}, [](const KernelRefs& r) {
    When(Eq(ProgramId(0), 0), [&] { PrngSeed({Number(r, 0)}); });
    DrawInto(r, 0);
  });
  EXPECT_EQ(bits, Line(5, 4));
}

TEST(RandomTest, DrawsInLoopsAdvanceTheState) {
  const Bits with_for = Interpreted(1, 6, {5, 4}, [](const KernelRefs& r) {
    PrngSeed({Number(r, 0)});
    DrawInto(r, 0);
    For(1, Number(r, 1) + 1, [&](const Val& i) { DrawInto(r, i); });
    DrawInto(r, 5);
  });
  EXPECT_EQ(with_for, Line(5, 6));
  const Bits with_while = Interpreted(1, 4, {5, 3}, [](const KernelRefs& r) {
    PrngSeed({Number(r, 0)});
    const auto goes_on = [&](const Values& carry) { return carry[0] < Number(r, 1); };
    While({Full({DType::kS32, {}}, 0)}, goes_on, [&](const Values& carry) {
      DrawInto(r, carry[0]);
      return Values{carry[0] + 1};
    });
    DrawInto(r, 3);
  });
  EXPECT_EQ(with_while, Line(5, 4));
}

TEST(RandomTest, OnlyTheBranchTakenAdvancesTheState) {
  const Bits line = Line(5, 3);
  for (const int32_t flag : {0, 1}) {
    const Bits bits = Interpreted(1, 3, {5, flag}, [](const KernelRefs& r) {
      PrngSeed({Number(r, 0)});
      When(
          Number(r, 1) > 0,
          [&] { For(0, 2, [&](const Val& i) { When(i >= 0, [&] { DrawInto(r, i); }); }); },
          [&] { r.out[0].At({Ds(0, 8)}).Store(1); });
      DrawInto(r, 2);
    });
    EXPECT_EQ(TileOf(bits, 2), TileOf(line, flag > 0 ? 2 : 0)) << flag;
    EXPECT_EQ(TileOf(bits, 0), flag > 0 ? TileOf(line, 0) : Bits(kDraw, 1)) << flag;
    EXPECT_EQ(TileOf(bits, 1), flag > 0 ? TileOf(line, 1) : Bits(kDraw, 0)) << flag;
  }
}

}  // namespace
}  // namespace sophia::pallas
