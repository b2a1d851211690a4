// Elementwise ops of two operands of one shape. Each block: rule, gradient, test range.
#include <array>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/op_lists.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia {
namespace {

std::vector<Shape> SameShape(const ShapeArgs& args) {
  if (args.inputs[0] != args.inputs[1]) {
    args.Fail("expected operands of one shape, got {} and {}", ToString(args.inputs[0]),
              ToString(args.inputs[1]));
  }
  return {args.inputs[0]};
}

std::vector<Shape> SameBits(const ShapeArgs& args) {
  if (IsFloat(args.inputs[0].dtype)) {
    args.Fail("expected bool or integer operands, got {}", ToString(args.inputs[0]));
  }
  return SameShape(args);
}

std::vector<Shape> SameFloat(const ShapeArgs& args) {
  if (!IsFloat(args.inputs[0].dtype)) {
    args.Fail("expected float operands, got {}", ToString(args.inputs[0]));
  }
  return SameShape(args);
}

using BinaryFunction = Tensor (*)(Operand, Operand);

constexpr std::array kFloats = {DType::kF32, DType::kBF16, DType::kF16};
constexpr std::array kNumbers = {DType::kF32, DType::kBF16, DType::kF16, DType::kS32, DType::kU8};
constexpr std::array kBits = {DType::kS32, DType::kU8, DType::kBool};
constexpr std::array kIntegers = {DType::kS32, DType::kU32, DType::kU8};

// One sample a type and one that broadcasts; the first has the op's own name. Where floats are
// drawn from [low, high], integers are from 1 to 8.
std::vector<OpSample> Binary(const std::string& name, BinaryFunction function, double low,
                             double high, std::span<const DType> dtypes) {
  const auto call = [function](std::span<const Tensor> in) {
    return std::vector{function(in[0], in[1])};
  };
  const DType first = dtypes[0];
  std::vector<OpSample> samples = {
      {name + "/broadcast", {{first, {2, 1, 4}}, {first, {3, 1}}}, call, low, high}};
  for (const DType dtype : dtypes) {
    const bool is_counted = IsFloat(first) && !IsFloat(dtype);
    samples.push_back({dtype == first ? name : fmt::format("{}/{}", name, Name(dtype)),
                       {{dtype, {3, 4}}, {dtype, {3, 4}}},
                       call,
                       is_counted ? 1 : low,
                       is_counted ? 9 : high});
  }
  return samples;
}

// Truncates towards zero, whatever the signs.
std::vector<OpSample> Quotients(const std::string& name, BinaryFunction function, double low,
                                double high) {
  std::vector<OpSample> samples = Binary(name, function, low, high, kNumbers);
  samples.push_back({name + "/signs",
                     {{DType::kS32, {5, 5}}, {DType::kS32, {5, 5}}},
                     [function](std::span<const Tensor> in) {
                       return std::vector{function(in[0], Select(Eq(in[1], 0.0), 1.0, in[1]))};
                     },
                     -9,
                     9});
  return samples;
}

// An operand against itself: the halves of the gradient add up.
std::vector<OpSample> Extrema(const std::string& name, BinaryFunction function) {
  std::vector<OpSample> samples = Binary(name, function, -2, 2, kNumbers);
  samples.push_back({.name = name + "/ties",
                     .inputs = {{DType::kF32, {5}}},
                     .call = [function](std::span<const Tensor> in) {
                       return std::vector{function(in[0], in[0])};
                     }});
  return samples;
}

constinit const OpDef kAdd = Op({
    .name = "add",
    .mlir = "stablehlo.add",
    .shape = SameShape,
    .vjp =
        [](VjpContext& c) {
          c.Add(0, c.Grad(0));
          c.Add(1, c.Grad(0));
        },
    .samples = [] { return Binary("add", Add, -2, 2, kNumbers); },
});

constinit const OpDef kSub = Op({
    .name = "sub",
    .mlir = "stablehlo.subtract",
    .shape = SameShape,
    .vjp =
        [](VjpContext& c) {
          c.Add(0, c.Grad(0));
          if (c.Wants(1)) c.Add(1, -c.Grad(0));
        },
    .samples = [] { return Binary("sub", Sub, -2, 2, kNumbers); },
});

constinit const OpDef kMul = Op({
    .name = "mul",
    .mlir = "stablehlo.multiply",
    .shape = SameShape,
    .vjp =
        [](VjpContext& c) {
          if (c.Wants(0)) c.Add(0, c.Grad(0) * c.In(1));
          if (c.Wants(1)) c.Add(1, c.Grad(0) * c.In(0));
        },
    .samples = [] { return Binary("mul", Mul, -2, 2, kNumbers); },
});

// d(a/b) = da/b - (a/b) db/b
constinit const OpDef kDiv = Op({
    .name = "div",
    .mlir = "stablehlo.divide",
    .shape = SameShape,
    .vjp =
        [](VjpContext& c) {
          if (c.Wants(0)) c.Add(0, c.Grad(0) / c.In(1));
          if (c.Wants(1)) c.Add(1, -(c.Grad(0) * c.Out(0)) / c.In(1));
        },
    .samples = [] { return Quotients("div", Div, 0.5, 2); },
});

// a rem b = a - b trunc(a/b), and trunc is flat.
constinit const OpDef kRem = Op({
    .name = "rem",
    .mlir = "stablehlo.remainder",
    .shape = SameShape,
    .vjp =
        [](VjpContext& c) {
          if (c.Wants(0)) c.Add(0, c.Grad(0));
          if (c.Wants(1)) {
            const Tensor quotient = c.In(0) / c.In(1);
            c.Add(1, -(c.Grad(0) * (Sign(quotient) * Floor(Abs(quotient)))));
          }
        },
    .samples = [] { return Quotients("rem", Rem, 1.1, 1.9); },
});

// d a^b = b a^(b-1) da + a^b log(a) db, where 0 a^-1 and 0 log(0) count as 0.
constinit const OpDef kPow = Op({
    .name = "pow",
    .mlir = "stablehlo.power",
    .shape = SameFloat,
    .vjp =
        [](VjpContext& c) {
          if (c.Wants(0)) {
            const Tensor less = Select(Eq(c.In(1), 0.0), 1.0, c.In(1) - 1.0);
            c.Add(0, c.Grad(0) * (c.In(1) * Pow(c.In(0), less)));
          }
          if (c.Wants(1)) {
            const Tensor log = Log(Select(Eq(c.In(0), 0.0), 1.0, c.In(0)));
            c.Add(1, c.Grad(0) * (c.Out(0) * log));
          }
        },
    .samples = [] { return Binary("pow", Pow, 0.5, 2, kFloats); },
});

// The operand that lies beyond the other takes the gradient; ties share it, as in JAX.
void ExtremumVjp(VjpContext& c, Tensor (*beyond)(Operand, Operand)) {
  for (const int i : {0, 1}) {
    if (!c.Wants(i)) continue;
    const Tensor own = c.In(i);
    const Tensor other = c.In(1 - i);
    const Tensor chosen = Convert(beyond(own, other), own.dtype());
    c.Add(i, c.Grad(0) * Select(Eq(own, other), FullLike(own, 0.5), chosen));
  }
}

constinit const OpDef kMax = Op({
    .name = "max",
    .mlir = "stablehlo.maximum",
    .shape = SameShape,
    .vjp = [](VjpContext& c) { ExtremumVjp(c, Gt); },
    .samples = [] { return Extrema("max", Max); },
});

constinit const OpDef kMin = Op({
    .name = "min",
    .mlir = "stablehlo.minimum",
    .shape = SameShape,
    .vjp = [](VjpContext& c) { ExtremumVjp(c, Lt); },
    .samples = [] { return Extrema("min", Min); },
});

// d atan2(y, x) = (x dy - y dx) / (x^2 + y^2)
constinit const OpDef kAtan2 = Op({
    .name = "atan2",
    .mlir = "stablehlo.atan2",
    .shape = SameFloat,
    .vjp =
        [](VjpContext& c) {
          const Tensor y = c.In(0);
          const Tensor x = c.In(1);
          const Tensor scaled = c.Grad(0) / (x * x + y * y);
          if (c.Wants(0)) c.Add(0, scaled * x);
          if (c.Wants(1)) c.Add(1, -(scaled * y));
        },
    .samples = [] { return Binary("atan2", Atan2, 0.5, 2, kFloats); },
});

constinit const OpDef kAnd = Op({
    .name = "and",
    .mlir = "stablehlo.and",
    .shape = SameBits,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Binary("and", And, 0, 100, kBits); },
});

constinit const OpDef kOr = Op({
    .name = "or",
    .mlir = "stablehlo.or",
    .shape = SameBits,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Binary("or", Or, 0, 100, kBits); },
});

constinit const OpDef kXor = Op({
    .name = "xor",
    .mlir = "stablehlo.xor",
    .shape = SameBits,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Binary("xor", Xor, 0, 100, kBits); },
});

constinit const OpDef kShiftLeft = Op({
    .name = "shift_left",
    .mlir = "stablehlo.shift_left",
    .shape = SameBits,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Binary("shift_left", ShiftLeft, 0, 12, kIntegers); },
});

constinit const OpDef kShiftRightLogical = Op({
    .name = "shift_right_logical",
    .mlir = "stablehlo.shift_right_logical",
    .shape = SameBits,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Binary("shift_right_logical", ShiftRightLogical, 0, 12, kIntegers); },
});

constinit const OpDef kShiftRightArithmetic = Op({
    .name = "shift_right_arithmetic",
    .mlir = "stablehlo.shift_right_arithmetic",
    .shape = SameBits,
    .gradient = OpDef::Gradient::kNone,
    .samples =
        [] { return Binary("shift_right_arithmetic", ShiftRightArithmetic, 0, 12, kIntegers); },
});

Tensor ApplyBinary(const OpDef& op, const Operand& a, const Operand& b) {
  const OperandPair pair = BroadcastOperands(op.name, a, b);
  return Apply(op, {pair.a, pair.b}, {}, pair.loc);
}

}  // namespace

OperandPair BroadcastOperands(std::string_view op, const Operand& a, const Operand& b) {
  SOPHIA_CHECK(!a.number() || !b.number(), "{} of two numbers", op);
  const Loc loc = a.number() ? b.loc() : a.loc();
  if (a.number()) return {FullLike(b.tensor(), *a.number(), loc), b.tensor(), loc};
  if (b.number()) return {a.tensor(), FullLike(a.tensor(), *b.number(), loc), loc};
  const Shape& left = a.tensor().shape();
  const Shape& right = b.tensor().shape();
  if (left.dtype != right.dtype) {
    FailAt(loc, "{}: expected operands of one element type, got {} and {}", op, ToString(left),
           ToString(right));
  }
  const Dims dims = BroadcastDims(left.dims, right.dims, op, loc);
  return {BroadcastTo(a.tensor(), dims, loc), BroadcastTo(b.tensor(), dims, loc), loc};
}

Tensor Add(Operand a, Operand b) { return ApplyBinary(kAdd, a, b); }
Tensor Sub(Operand a, Operand b) { return ApplyBinary(kSub, a, b); }
Tensor Mul(Operand a, Operand b) { return ApplyBinary(kMul, a, b); }
Tensor Div(Operand a, Operand b) { return ApplyBinary(kDiv, a, b); }
Tensor Rem(Operand a, Operand b) { return ApplyBinary(kRem, a, b); }
Tensor Pow(Operand a, Operand b) { return ApplyBinary(kPow, a, b); }
Tensor Max(Operand a, Operand b) { return ApplyBinary(kMax, a, b); }
Tensor Min(Operand a, Operand b) { return ApplyBinary(kMin, a, b); }
Tensor Atan2(Operand y, Operand x) { return ApplyBinary(kAtan2, y, x); }
Tensor And(Operand a, Operand b) { return ApplyBinary(kAnd, a, b); }
Tensor Or(Operand a, Operand b) { return ApplyBinary(kOr, a, b); }
Tensor Xor(Operand a, Operand b) { return ApplyBinary(kXor, a, b); }
Tensor ShiftLeft(Operand a, Operand bits) { return ApplyBinary(kShiftLeft, a, bits); }
Tensor ShiftRightLogical(Operand a, Operand bits) {
  return ApplyBinary(kShiftRightLogical, a, bits);
}
Tensor ShiftRightArithmetic(Operand a, Operand bits) {
  return ApplyBinary(kShiftRightArithmetic, a, bits);
}

namespace ops {

std::vector<const OpDef*> BinaryOps() {
  return {&kAdd,
          &kSub,
          &kMul,
          &kDiv,
          &kRem,
          &kPow,
          &kMax,
          &kMin,
          &kAtan2,
          &kAnd,
          &kOr,
          &kXor,
          &kShiftLeft,
          &kShiftRightLogical,
          &kShiftRightArithmetic};
}

}  // namespace ops
}  // namespace sophia
