// Kernels of ops on single elements: functions, comparisons, conversions, bits.
#include "tests/pallas/op_kernels.h"

namespace sophia::pallas {
namespace {

constexpr DType kF32 = DType::kF32;
constexpr DType kS32 = DType::kS32;

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

TestKernel RoundStochastically() {
  TestKernel kernel = RowsKernel("stochastic_round", {{kF32, {16, 128}}, {kS32, {16, 128}}}, 16,
                                 [](const KernelRefs& r, Rows& out) {
                                   out.Add(StochasticRound(r.in[0].Load(), r.in[1].Load() * 8191));
                                 });
  kernel.from = Chip::kV5e;
  return kernel;
}

}  // namespace

std::vector<TestKernel> ElementKernels() {
  return {FloatFunctions(kF32),
          FloatFunctions(DType::kBF16),
          F32Only(),
          IntegerFunctions(kS32),
          IntegerFunctions(DType::kU32),
          Casts(),
          NarrowIntegers(),
          FourBits(),
          Bitcasts(),
          RoundStochastically()};
}

}  // namespace sophia::pallas
