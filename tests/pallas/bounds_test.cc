// Interpreted accesses at dynamic places outside an array: reads give NaN (77 in integers), writes
// do nothing, and neighbours stay as they are.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "sophia/pjrt/test_support.h"
#include "tests/pallas/run.h"

namespace sophia::pallas {
namespace {

constexpr DType kF32 = DType::kF32;
constexpr DType kS32 = DType::kS32;

std::vector<HostTensor> Interpreted(const TestKernel& kernel,
                                    const std::vector<HostTensor>& inputs) {
  return RunKernel(pjrt::SharedCpuClient(), kernel, {Mode::kInterpret}, inputs)[0];
}

HostTensor Integers(const Dims& dims, std::vector<int32_t> values) {
  return {.shape = {kS32, dims}, .integers = std::move(values)};
}

// Rows that hold 1, 2, 3, …
HostTensor CountedRows(int64_t rows) {
  HostTensor x{.shape = {kF32, {rows, 128}}};
  for (int64_t i = 0; i < rows * 128; ++i) x.floats.push_back(static_cast<float>(i / 128 + 1));
  return x;
}

// The row's one value; fails where its elements differ.
float RowOf(const HostTensor& x, int64_t row) {
  const auto first = x.floats.begin() + row * 128;
  for (auto it = first; it != first + 128; ++it) {
    EXPECT_TRUE(*it == *first || (std::isnan(*it) && std::isnan(*first))) << "row " << row;
  }
  return *first;
}

// in: a start in SMEM, rows; the body sees rows that start as a copy of the input.
TestKernel RowsAt(int64_t rows, const std::function<void(const KernelRefs&, const Val&)>& body) {
  TestKernel kernel{.name = "bounds"};
  const Shape x{kF32, {rows, 128}};
  kernel.spec = {.name = "bounds",
                 .in_specs = {{.space = MemorySpace::kSmem}, {}},
                 .out_shapes = {x},
                 .out_specs = {{}}};
  kernel.inputs = {{kS32, {1, 1}}, x};
  kernel.body = [body](const KernelRefs& r) {
    r.out[0].Store(r.in[1].Load());
    body(r, r.in[0].At({0, 0}).Load());
  };
  return kernel;
}

TEST(BoundsTest, ReadsOutsideGiveNan) {
  const TestKernel kernel = RowsAt(24, [](const KernelRefs& r, const Val& start) {
    r.out[0].At({Ds(0, 1)}).Store(r.in[1].At({Ds(start, 1)}).Load());
    r.out[0].At({Ds(8, 16)}).Store(r.in[1].At({Ds(AssumeMultiple(start * 8, 8), 16)}).Load());
  });
  for (const int32_t start : {-1, 0, 1, 2, 23, 24, 1000}) {
    const HostTensor out = Interpreted(kernel, {Integers({1, 1}, {start}), CountedRows(24)})[0];
    const bool row_inside = 0 <= start && start < 24;
    const bool part_inside = 0 <= start && start * 8 + 16 <= 24;
    EXPECT_EQ(std::isnan(RowOf(out, 0)), !row_inside) << start;
    if (row_inside) {
      EXPECT_EQ(RowOf(out, 0), start + 1);
    }
    for (int64_t i = 0; i < 16; ++i) {
      EXPECT_EQ(std::isnan(RowOf(out, 8 + i)), !part_inside) << start << ", row " << i;
      if (part_inside) {
        EXPECT_EQ(RowOf(out, 8 + i), start * 8 + i + 1);
      }
    }
    EXPECT_EQ(RowOf(out, 1), 2);
  }
}

TEST(BoundsTest, WritesOutsideDoNothing) {
  for (const bool is_masked : {false, true}) {
    const TestKernel kernel = RowsAt(24, [is_masked](const KernelRefs& r, const Val& start) {
      const Val mask = Iota({16, 128}, 0) >= 0;
      const Ref part = r.out[0].At({Ds(AssumeMultiple(start * 8, 8), 16)});
      is_masked ? part.Store(0.0, {.mask = mask}) : part.Store(0.0);
    });
    for (const int32_t start : {-1, 0, 1, 2, 3, 1000}) {
      const HostTensor out = Interpreted(kernel, {Integers({1, 1}, {start}), CountedRows(24)})[0];
      const bool is_inside = 0 <= start && start <= 1;
      for (int64_t i = 0; i < 24; ++i) {
        const bool is_written = is_inside && start * 8 <= i && i < start * 8 + 16;
        EXPECT_EQ(RowOf(out, i), is_written ? 0.0F : static_cast<float>(i + 1)) << start;
      }
    }
  }
}

TEST(BoundsTest, CopiesFromOutsideGiveNan) {
  TestKernel kernel = RowsAt(24, [](const KernelRefs& r, const Val& start) {
    const AsyncCopy copy(r.in[1].At({Ds(AssumeMultiple(start * 8, 8), 8)}), r.scratch[0],
                         r.scratch[1]);
    copy.Start();
    copy.Wait();
    r.out[0].At({Ds(0, 8)}).Store(r.scratch[0].Load());
  });
  kernel.spec.scratch_shapes = {Vmem(kF32, {8, 128}), DmaSemaphore()};
  for (const int32_t start : {-1, 2, 3}) {
    const HostTensor out = Interpreted(kernel, {Integers({1, 1}, {start}), CountedRows(24)})[0];
    for (int64_t i = 0; i < 8; ++i) {
      EXPECT_EQ(std::isnan(RowOf(out, i)), start != 2);
      if (start == 2) {
        EXPECT_EQ(RowOf(out, i), 17 + i);
      }
    }
    EXPECT_EQ(RowOf(out, 8), 9);
  }
}

TEST(BoundsTest, ScalarsOutsideAreGarbage) {
  TestKernel kernel{.name = "scalars"};
  kernel.spec = {.name = "scalars",
                 .in_specs = {{.space = MemorySpace::kSmem}},
                 .out_shapes = {{kS32, {8, 128}}},
                 .out_specs = {{}}};
  kernel.inputs = {{kS32, {1, 4}}};
  kernel.body = [](const KernelRefs& r) {
    const Val place = r.in[0].At({0, 0}).Load();
    r.out[0].Store(Full({kS32, {8, 128}}, 0) + r.in[0].At({0, place}).Load());
  };
  const auto read = [&](int32_t place) {
    return Interpreted(kernel, {Integers({1, 4}, {place, 10, 20, 30})})[0].integers[0];
  };
  EXPECT_EQ(read(3), 30);
  EXPECT_EQ(read(4), 77);
  EXPECT_EQ(read(-1), 77);
}

// A program copies the block that the first prefetched array names to the one that the second does.
TEST(BoundsTest, PrefetchedBlocksOutsideAreNanOrDropped) {
  const auto map = [](size_t which) {
    return [which](const GridIndex& i) {
      return BlockIndex{i.prefetch[which].At({i[0]}).Load(), 0};
    };
  };
  TestKernel kernel{.name = "blocks"};
  const Shape x{kF32, {32, 128}};
  kernel.spec = {.name = "blocks",
                 .grid = {4},
                 .num_scalar_prefetch = 2,
                 .in_specs = {{.block = {8, 128}, .index_map = map(0)}},
                 .out_shapes = {x},
                 .out_specs = {{.block = {8, 128}, .index_map = map(1)}}};
  kernel.inputs = {{kS32, {4}}, {kS32, {4}}, x};
  kernel.body = [](const KernelRefs& r) { r.out[0].Store(r.in[0].Load()); };
  const auto run = [&](const std::vector<int32_t>& from, const std::vector<int32_t>& to) {
    const HostTensor out =
        Interpreted(kernel, {Integers({4}, from), Integers({4}, to), CountedRows(32)})[0];
    std::vector<float> first;
    for (int64_t block = 0; block < 4; ++block) first.push_back(RowOf(out, block * 8));
    return first;
  };
  EXPECT_EQ(run({3, 0, 2, 1}, {0, 1, 2, 3}), (std::vector<float>{25, 1, 17, 9}));
  const std::vector<float> read = run({4, 0, -1, 3}, {0, 1, 2, 3});
  EXPECT_TRUE(std::isnan(read[0]) && std::isnan(read[2]));
  EXPECT_EQ(read[1], 1);
  EXPECT_EQ(read[3], 25);
  const std::vector<float> written = run({0, 1, 2, 3}, {3, 4, -1, 0});
  EXPECT_EQ(written[3], 1);
  EXPECT_EQ(written[0], 25);
  // What nothing was written to.
  EXPECT_TRUE(std::isnan(written[1]) && std::isnan(written[2]));
}

}  // namespace
}  // namespace sophia::pallas
