// Kernels of ops that move, gather, reduce and multiply whole arrays.
#include "tests/pallas/op_kernels.h"

namespace sophia::pallas {
namespace {

constexpr DType kF32 = DType::kF32;
constexpr DType kS32 = DType::kS32;

TestKernel Shapes(DType dtype) {
  return RowsKernel(
      fmt::format("shapes_{}", Name(dtype)), {{dtype, {128, 128}}, {dtype, {16, 256}}},
      2 * 128 + 9 * 16, [](const KernelRefs& r, Rows& out) {
        const Val x = r.in[0].Load();
        const Val y = r.in[1].Load();
        out.Add(Transpose(x));
        out.Add(Concatenate({SliceAxis(x, 0, 64, 128), SliceAxis(x, 0, 0, 64)}, 0));
        out.Add(SliceAxis(y, 1, 128, 256));
        out.Add(Slice(y, {0, 64}, {16, 192}));
        const Val front = SliceAxis(y, 1, 0, 128);
        out.Add(Concatenate({SliceAxis(front, 1, 64, 128), SliceAxis(front, 1, 0, 64)}, 1));
        out.Add(Reshape(Reshape(front, {2, 8, 128}), {16, 128}));
        out.Add(Roll(front, 3, 1));
        out.Add(Roll(Roll(front, 16 - 5, 0), 2, 0));
        out.Add(BroadcastTo(SliceAxis(front, 0, 3, 4), {16, 128}));
        out.Add(BroadcastTo(SliceAxis(front, 1, 0, 1), {16, 128}));
        out.Add(Iota({16, 128}, 1) - Iota({16, 128}, 0));
      });
}

// Row statistics as a row: the way that works on every chip.
TestKernel ColumnToRow() {
  return RowsKernel("column_to_row", {{kF32, {128, 256}}}, 1, [](const KernelRefs& r, Rows& out) {
    const Val column = Sum(r.in[0].Load(), {1}, {.keep_dims = true});
    out.Add(SliceAxis(Transpose(BroadcastTo(column, {128, 128})), 0, 0, 1));
  });
}

TestKernel GatherKernel(int64_t axis) {
  TestKernel kernel =
      RowsKernel(axis == 0 ? "take_rows" : "take_lanes", {{kF32, {8, 128}}, {kS32, {8, 128}}}, 8,
                 [=](const KernelRefs& r, Rows& out) {
                   out.Add(TakeAlongAxis(r.in[0].Load(), r.in[1].Load(), axis));
                 });
  kernel.from = axis == 0 ? Chip::kV5e : Chip::kV4;
  return kernel;
}

TestKernel Reductions() {
  return RowsKernel(
      "reductions", {{kF32, {16, 256}}, {DType::kBF16, {16, 256}}, {kS32, {16, 256}}},
      6 * 16 + 3 + 2, [](const KernelRefs& r, Rows& out) {
        for (const Ref& ref : r.in) {
          const Val x = ref.Load();
          out.Add(Sum(x, {1}, {.keep_dims = true}));
          out.Add(ReduceMax(x, {1}, {.keep_dims = true}));
          out.Add(ReduceMax(SliceAxis(x, 1, 0, 128), {0}, {.keep_dims = true}));
        }
        out.Add(ReduceMin(r.in[0].At({All{}, Ds(0, 128)}).Load(), {0}, {.keep_dims = true}));
        const Val cube = Reshape(r.in[0].At({All{}, Ds(128, 128)}).Load(), {2, 8, 128});
        out.Add(Sum(Sum(cube, {0}), {0}, {.keep_dims = true}));
      });
}

TestKernel Dots() {
  return RowsKernel("dots", {{kF32, {128, 128}}, {kF32, {128, 128}}}, 5 * 128,
                    [](const KernelRefs& r, Rows& out) {
                      const Val a = r.in[0].Load();
                      const Val b = r.in[1].Load();
                      out.Add(Dot(a, b));
                      out.Add(Dot(a, b, {.transpose_lhs = true}));
                      out.Add(Dot(a, b, {.transpose_rhs = true}));
                      out.Add(Dot(a, b, {.transpose_lhs = true, .transpose_rhs = true, .acc = a}));
                      out.Add(Dot(a, b, {.precision = DotPrecision::kHighest}));
                    });
}

TestKernel NarrowDot(DType dtype) {
  TestKernel kernel =
      RowsKernel(fmt::format("dot_{}", Name(dtype)), {{dtype, {128, 128}}, {dtype, {128, 128}}},
                 2 * 128, [](const KernelRefs& r, Rows& out) {
                   const Val a = r.in[0].Load();
                   const Val b = r.in[1].Load();
                   out.Add(Dot(a, b));
                   out.Add(Dot(a, b, {.transpose_rhs = true}));
                 });
  kernel.from = dtype == DType::kBF16 ? Chip::kV4 : Chip::kV5e;
  return kernel;
}

}  // namespace

std::vector<TestKernel> ArrayKernels() {
  return {Shapes(kF32),    Shapes(kS32),          ColumnToRow(),
          GatherKernel(0), GatherKernel(1),       Reductions(),
          Dots(),          NarrowDot(DType::kS8), NarrowDot(DType::kBF16)};
}

}  // namespace sophia::pallas
