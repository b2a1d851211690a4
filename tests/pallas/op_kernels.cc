// Small kernels that together use every op. They have no reference: the interpreter and the
// evaluator of the text have to agree.
#include <limits>

#include "tests/pallas/kernels.h"

namespace sophia::pallas {
namespace {

constexpr DType kF32 = DType::kF32;
constexpr DType kS32 = DType::kS32;

// Stores f32 results of 128 lanes one below the other into out[0].
class Rows {
 public:
  explicit Rows(Ref out) : out_(std::move(out)) {}

  void Add(const Val& value, Loc loc = Loc::current()) {
    Val wide = value;
    if (value.dtype() == DType::kBool) {
      wide = Convert(value, kS32, loc);
    }
    wide = BroadcastTo(Convert(wide, kF32, loc), {value.dim(0), out_.dim(1)}, loc);
    out_.At({Ds(next_, value.dim(0))}, loc).Store({wide, loc});
    next_ += value.dim(0);
  }
  // Every row has to be stored.
  void Finish() const { SOPHIA_CHECK(next_ == out_.dim(0), "{} rows of {}", next_, out_.dim(0)); }

 private:
  Ref out_;
  int64_t next_ = 0;
};

// A kernel without grid whose results are rows.
TestKernel RowsKernel(std::string name, std::vector<Shape> inputs, int64_t rows,
                      std::function<void(const KernelRefs&, Rows&)> body) {
  TestKernel kernel{.name = name};
  kernel.spec = {.name = std::move(name),
                 .in_specs = std::vector<BlockSpec>(inputs.size()),
                 .out_shapes = {{kF32, {rows, 128}}},
                 .out_specs = {{}}};
  kernel.inputs = std::move(inputs);
  kernel.body = [body = std::move(body)](const KernelRefs& r) {
    Rows out(r.out[0]);
    body(r, out);
    out.Finish();
  };
  return kernel;
}

TestKernel FloatFunctions(DType dtype) {
  return RowsKernel(
      fmt::format("functions_{}", Name(dtype)), {{dtype, {16, 128}}, {dtype, {16, 128}}}, 23 * 16,
      [](const KernelRefs& r, Rows& out) {
        const Val x = r.in[0].Load();
        const Val y = r.in[1].Load();
        const Val positive = Abs(x) + 0.25;
        for (const Val& value : {Abs(x), Ceil(x), Cos(x), Exp(x), Exp2(x), Floor(x), Log(positive),
                                 Log1p(positive), Logistic(x), Neg(x), RoundNearestEven(x),
                                 Rsqrt(positive), Sin(x), Sqrt(positive), Tanh(x)}) {
          out.Add(value);
        }
        for (const Val& value : {x + y, x - y, x * y, x / (Abs(y) + 0.5), Max(x, y), Min(x, y),
                                 Pow(positive, y), Select(x < y, x, 2.0)}) {
          out.Add(value);
        }
      });
}

TestKernel F32Only() {
  return RowsKernel("f32_only", {{kF32, {8, 128}}}, 9 * 8, [](const KernelRefs& r, Rows& out) {
    const Val x = r.in[0].Load();
    out.Add(IsFinite(x / (x - x)));
    out.Add(IsFinite(x));
    out.Add(Reciprocal(Abs(x) + 0.5));
    out.Add(Reciprocal(Abs(x) + 0.5, {.approx = true}));
    out.Add(x % 0.75);
    out.Add(Eq(x, x));
    out.Add(Ne(x, 0.0));
    out.Add(x <= 0.5);
    out.Add(Not(x >= 0.5) & (x > -0.5));
  });
}

TestKernel IntegerFunctions(DType dtype) {
  const bool is_signed = dtype == kS32;
  return RowsKernel(fmt::format("functions_{}", Name(dtype)), {{kS32, {8, 128}}, {kS32, {8, 128}}},
                    (is_signed ? 21 : 19) * 8, [=](const KernelRefs& r, Rows& out) {
                      const Val x = Convert(r.in[0].Load() - (is_signed ? 5 : 0), dtype);
                      const Val y = Convert(r.in[1].Load() + 1, dtype);
                      for (const Val& value :
                           {x + y, x * y, x / y, x % y, Max(x, y), Min(x, y), x & y, x | y, x ^ y,
                            ShiftLeft(x, y), ShiftRightLogical(x, y), ShiftRightArithmetic(x, y)}) {
                        out.Add(ShiftRightArithmetic(Bitcast(value, kS32), 1));
                      }
                      for (const Val& value : {Eq(x, y), Ne(x, y), x<y, x <= y, x> y, x >= y})
                        out.Add(value);
                      out.Add(Select(Lt(x, y) | Gt(x, 6), x, y));
                      if (is_signed) {
                        out.Add(Abs(x));
                        out.Add(Not(-x) - y);
                      }
                    });
}

TestKernel Casts() {
  return RowsKernel("casts", {{kF32, {32, 128}}}, 10 * 32, [](const KernelRefs& r, Rows& out) {
    const Val x = r.in[0].Load() * 20.0;
    for (const DType dtype : {DType::kBF16, kS32, DType::kU32, DType::kS16, DType::kS8, DType::kU8,
                              DType::kF8E4M3FN, DType::kF8E5M2}) {
      out.Add(Convert(dtype == DType::kU32 || dtype == DType::kU8 ? Abs(x) : x, dtype));
    }
    out.Add(Convert(Convert(Convert(x, kS32), DType::kS8), kS32));
    out.Add(Convert(Convert(Convert(Abs(x), kS32), DType::kU8), DType::kBF16));
  });
}

TestKernel NarrowIntegers() {
  TestKernel kernel =
      RowsKernel("narrow_integers", {{DType::kS8, {32, 128}}, {DType::kU8, {32, 128}}}, 7 * 32,
                 [](const KernelRefs& r, Rows& out) {
                   const Val x = r.in[0].Load();
                   const Val y = r.in[1].Load();
                   out.Add(x);
                   out.Add(y & 3);
                   out.Add(ShiftRightLogical(y, 1));
                   out.Add(Convert(y, kS32) * 3);
                   out.Add(Select(Lt(x, 2), Convert(x, kF32), -1.0));
                   out.Add(Convert(x, DType::kS16) + Convert(y, DType::kS16));
                   out.Add(Convert(y, DType::kBF16) * 0.5);
                 });
  kernel.from = Chip::kV4;
  return kernel;
}

TestKernel FourBits() {
  TestKernel kernel = RowsKernel("four_bits", {{DType::kS4, {64, 128}}, {kF32, {64, 128}}}, 3 * 64,
                                 [](const KernelRefs& r, Rows& out) {
                                   const Val x = r.in[0].Load();
                                   out.Add(x);
                                   out.Add(Convert(x, DType::kBF16));
                                   out.Add(Convert(Convert(r.in[1].Load(), kS32), DType::kS4));
                                 });
  kernel.from = Chip::kV4;
  return kernel;
}

TestKernel Bitcasts() {
  return RowsKernel("bitcasts", {{kF32, {16, 128}}, {kS32, {16, 128}}}, 16 * 6,
                    [](const KernelRefs& r, Rows& out) {
                      const Val x = r.in[0].Load();
                      const Val bits = Bitcast(x, kS32);
                      out.Add(ShiftRightArithmetic(bits, 16));
                      out.Add(Bitcast(bits & -65536, kF32));
                      out.Add(Bitcast(bits & 0x3FFF3FFF, DType::kBF16));
                      out.Add(Concatenate({Bitcast(Convert(x, DType::kBF16), kS32) / 65536,
                                           Bitcast(Convert(x, DType::kBF16), kS32) / 65536},
                                          0));
                      out.Add(Bitcast(r.in[1].Load(), DType::kU32));
                    });
}

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

// Branches and loops over values, SMEM and VMEM; loop bounds come from SMEM.
TestKernel Control() {
  TestKernel kernel = RowsKernel(
      "control", {{kS32, {1, 4}}, {kF32, {32, 128}}}, 3 * 8, [](const KernelRefs& r, Rows& out) {
        const Ref& counts = r.scratch[0];
        const Val limit = r.in[0].At({0, 1}).Load() + 2;
        counts.At({0}).Store(0);
        const Values sums = For(0, limit, {pallas::Full({kF32, {8, 128}}, 0), limit},
                                [&](const Val& i, const Values& carry) {
                                  counts.At({0}).Store(counts.At({0}).Load() + i);
                                  const Val rows = r.in[1].At({Ds((i % 4) * 8, 8)}).Load();
                                  return Values{carry[0] + rows, carry[1] - 1};
                                });
        out.Add(sums[0] + Convert(sums[1] + counts.At({0}).Load(), kF32));
        const Values doubled = While(
            {limit, pallas::Full({kF32, {8, 128}}, 1)},
            [](const Values& carry) { return carry[0] > 0; },
            [](const Values& carry) {
              return Values{carry[0] - 1, carry[1] * 2.0};
            });
        out.Add(doubled[1]);
        When(
            Eq(limit % 2, 0), [&] { counts.At({1}).Store(3); },
            [&] {
              When(
                  limit > 2, [&] { counts.At({1}).Store(5); }, [&] { counts.At({1}).Store(7); });
            });
        const Val first = r.in[1].At({Ds(0, 8)}).Load();
        const Values chosen = Cond(
            limit > 3,
            [&] {
              return Values{first, limit};
            },
            [&] {
              return Values{Exp(first), limit * 2};
            });
        out.Add(chosen[0] * Convert(chosen[1] + counts.At({1}).Load(), kF32));
      });
  kernel.spec.in_specs[0].space = MemorySpace::kSmem;
  kernel.spec.scratch_shapes = {Smem(kS32, {2})};
  return kernel;
}

// Dynamic parts, masks, squeezed blocks; the output block is accumulated over the inner dimension.
TestKernel Parts() {
  const Shape x{kF32, {3, 4, 32, 128}};
  TestKernel kernel{.name = "parts"};
  kernel.spec = {.name = "parts",
                 .grid = {3, 4},
                 .in_specs = {{.block = {kSqueezed, kSqueezed, 32, 128},
                               .index_map =
                                   [](const GridIndex& i) {
                                     return BlockIndex{i[0], i[1], 0, 0};
                                   }},
                              {.block = {3, 4}, .space = MemorySpace::kSmem}},
                 .out_shapes = {{kF32, {3, 32, 128}}},
                 .out_specs = {{.block = {1, 32, 128},
                                .index_map =
                                    [](const GridIndex& i) {
                                      return BlockIndex{i[0], 0, 0};
                                    },
                                .single_buffer = true}},
                 .scratch_shapes = {Vmem(kF32, {4, 32, 128})}};
  kernel.inputs = {x, {kS32, {3, 4}}};
  kernel.body = [](const KernelRefs& r) {
    const Val slot = ProgramId(1);
    const Ref cell = r.scratch[0].At({slot});
    cell.Store(r.in[0].Load());
    const Val row = r.in[1].At({ProgramId(0), slot}).Load();
    cell.At({Ds(row, 1)}).Store(9.0);
    const Val eight = AssumeMultiple(row * 4 + row * 4, 8);
    const Val part = cell.At({Ds(Min(eight, 24), 8)}).Load();
    const Val lanes = Iota({32, 128}, 1);
    cell.Store(Concatenate({part, part, part, part}, 0), {.mask = lanes < row * 16});
    const Val value = cell.Load({.mask = lanes > 3, .other = 0.5});
    const Ref out = r.out[0].At({0});
    When(Eq(slot, 0), [&] { out.Store(value); });
    When(slot > 0, [&] { out.Store(out.Load() + value); });
  };
  return kernel;
}

// 100 x 200 in blocks of 32 x 128: the last blocks stick out, the contracted dimension is masked.
TestKernel Ragged() {
  TestKernel kernel{.name = "ragged"};
  const auto map = [](const GridIndex& i) { return BlockIndex{i[0], i[1]}; };
  kernel.spec = {.name = "ragged",
                 .grid = {4, 2},
                 .in_specs = {{.block = {32, 128}, .index_map = map}},
                 .out_shapes = {{kF32, {100, 200}}, {kF32, {100, 128}}},
                 .out_specs = {{.block = {32, 128}, .index_map = map},
                               {.block = {32, 128}, .index_map = [](const GridIndex& i) {
                                  return BlockIndex{i[0], 0};
                                }}}};
  kernel.inputs = {{kF32, {100, 200}}};
  kernel.body = [](const KernelRefs& r) {
    const Val x = r.in[0].Load();
    r.out[0].Store(x * 2.0);
    const Val lane = Iota({32, 128}, 1) + ProgramId(1) * 128;
    const Val sum = Sum(Select(lane < 200, x, 0.0), {1}, {.keep_dims = true});
    When(Eq(ProgramId(1), 0), [&] { r.out[1].Store(0.0); });
    r.out[1].Store(r.out[1].Load() + sum);
  };
  return kernel;
}

// What is undefined on a TPU is NaN here: scratch, output rows that nothing stores, padding.
TestKernel Undefined() {
  TestKernel kernel{.name = "undefined"};
  kernel.spec = {.name = "undefined",
                 .grid = {2},
                 .in_specs = {{.block = {64, 128},
                               .index_map =
                                   [](const GridIndex& i) {
                                     return BlockIndex{i[0], 0};
                                   }}},
                 .out_shapes = {{kF32, {96, 128}}, {kF32, {2, 8, 128}}},
                 .out_specs = {{.block = {48, 128},
                                .index_map =
                                    [](const GridIndex& i) {
                                      return BlockIndex{1 - i[0], 0};
                                    }},
                               {.block = {1, 8, 128},
                                .index_map =
                                    [](const GridIndex& i) {
                                      return BlockIndex{i[0], 0, 0};
                                    }}},
                 .scratch_shapes = {Vmem(kF32, {8, 128})}};
  kernel.inputs = {{kF32, {100, 128}}};
  kernel.body = [](const KernelRefs& r) {
    r.out[0].At({Ds(0, 40)}).Store(r.in[0].At({Ds(0, 40)}).Load());
    r.out[1].Store(Reshape(r.scratch[0].Load(), {1, 8, 128}));
    r.scratch[0].Store(4.0);
  };
  kernel.has_nan = true;
  return kernel;
}

TestKernel Random() {
  TestKernel kernel =
      RowsKernel("random", {{kS32, {1, 1}}}, 2 * 8, [](const KernelRefs& r, Rows& out) {
        const Val seed = r.in[0].At({0, 0}).Load();
        PrngSeed({seed});
        PrngSeed({seed, seed + 1});
        out.Add(Convert(ShiftRightLogical(PrngBits({8, 128}), 8), kF32));
        out.Add(Convert(ShiftRightLogical(PrngBits({8, 128}), 8), kF32));
      });
  kernel.spec.in_specs[0].space = MemorySpace::kSmem;
  kernel.is_random = true;
  return kernel;
}

TestKernel RoundStochastically() {
  TestKernel kernel = RowsKernel("stochastic_round", {{kF32, {16, 128}}, {kS32, {16, 128}}}, 16,
                                 [](const KernelRefs& r, Rows& out) {
                                   out.Add(StochasticRound(r.in[0].Load(), r.in[1].Load() * 8191));
                                 });
  kernel.from = Chip::kV5e;
  return kernel;
}

}  // namespace

std::vector<TestKernel> OpKernels() {
  std::vector<TestKernel> kernels = {FloatFunctions(kF32),
                                     FloatFunctions(DType::kBF16),
                                     F32Only(),
                                     IntegerFunctions(kS32),
                                     IntegerFunctions(DType::kU32),
                                     Casts(),
                                     NarrowIntegers(),
                                     FourBits(),
                                     Bitcasts(),
                                     Shapes(kF32),
                                     Shapes(kS32),
                                     ColumnToRow(),
                                     GatherKernel(0),
                                     GatherKernel(1),
                                     Reductions(),
                                     Dots(),
                                     NarrowDot(DType::kS8),
                                     NarrowDot(DType::kBF16),
                                     Control(),
                                     Parts(),
                                     Ragged(),
                                     Undefined(),
                                     Random(),
                                     RoundStochastically()};
  for (TestKernel& kernel : kernels) kernel.below = 8;
  return kernels;
}

}  // namespace sophia::pallas
