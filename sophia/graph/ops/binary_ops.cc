// Elementwise ops of two operands of one shape. Each block: rule, gradient, test range.
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

std::vector<OpSample> Binary(const std::string& name, BinaryFunction function, double low,
                             double high, DType dtype = DType::kF32) {
  const auto call = [function](std::span<const Tensor> in) {
    return std::vector{function(in[0], in[1])};
  };
  return {{name, {{dtype, {3, 4}}, {dtype, {3, 4}}}, call, low, high},
          {name + "/broadcast", {{dtype, {2, 1, 4}}, {dtype, {3, 1}}}, call, low, high}};
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
    .samples = [] { return Binary("add", Add, -2, 2); },
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
    .samples = [] { return Binary("sub", Sub, -2, 2); },
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
    .samples = [] { return Binary("mul", Mul, -2, 2); },
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
    .samples = [] { return Binary("div", Div, 0.5, 2); },
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
    .samples = [] { return Binary("rem", Rem, 1.1, 1.9); },
});

// d a^b = b a^(b-1) da + a^b log(a) db
constinit const OpDef kPow = Op({
    .name = "pow",
    .mlir = "stablehlo.power",
    .shape = SameFloat,
    .vjp =
        [](VjpContext& c) {
          if (c.Wants(0)) c.Add(0, c.Grad(0) * (c.In(1) * Pow(c.In(0), c.In(1) - 1.0)));
          if (c.Wants(1)) c.Add(1, c.Grad(0) * (c.Out(0) * Log(c.In(0))));
        },
    .samples = [] { return Binary("pow", Pow, 0.5, 2); },
});

// Ties share the gradient, as in JAX.
Tensor ExtremumGradient(VjpContext& c, int chosen) {
  const Tensor a = c.In(chosen);
  const Tensor b = c.In(1 - chosen);
  const Tensor share = Select(Eq(a, b), FullLike(a, 0.5), Convert(Eq(a, c.Out(0)), a.dtype()));
  return c.Grad(0) * share;
}

void ExtremumVjp(VjpContext& c) {
  if (c.Wants(0)) c.Add(0, ExtremumGradient(c, 0));
  if (c.Wants(1)) c.Add(1, ExtremumGradient(c, 1));
}

constinit const OpDef kMax = Op({
    .name = "max",
    .mlir = "stablehlo.maximum",
    .shape = SameShape,
    .vjp = ExtremumVjp,
    .samples = [] { return Binary("max", Max, -2, 2); },
});

constinit const OpDef kMin = Op({
    .name = "min",
    .mlir = "stablehlo.minimum",
    .shape = SameShape,
    .vjp = ExtremumVjp,
    .samples = [] { return Binary("min", Min, -2, 2); },
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
    .samples = [] { return Binary("atan2", Atan2, 0.5, 2); },
});

constinit const OpDef kAnd = Op({
    .name = "and",
    .mlir = "stablehlo.and",
    .shape = SameBits,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Binary("and", And, 0, 100, DType::kS32); },
});

constinit const OpDef kOr = Op({
    .name = "or",
    .mlir = "stablehlo.or",
    .shape = SameBits,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Binary("or", Or, 0, 100, DType::kS32); },
});

constinit const OpDef kXor = Op({
    .name = "xor",
    .mlir = "stablehlo.xor",
    .shape = SameBits,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Binary("xor", Xor, 0, 100, DType::kU32); },
});

constinit const OpDef kShiftLeft = Op({
    .name = "shift_left",
    .mlir = "stablehlo.shift_left",
    .shape = SameBits,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Binary("shift_left", ShiftLeft, 0, 12, DType::kS32); },
});

constinit const OpDef kShiftRightLogical = Op({
    .name = "shift_right_logical",
    .mlir = "stablehlo.shift_right_logical",
    .shape = SameBits,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Binary("shift_right_logical", ShiftRightLogical, 0, 12, DType::kU32); },
});

constinit const OpDef kShiftRightArithmetic = Op({
    .name = "shift_right_arithmetic",
    .mlir = "stablehlo.shift_right_arithmetic",
    .shape = SameBits,
    .gradient = OpDef::Gradient::kNone,
    .samples =
        [] { return Binary("shift_right_arithmetic", ShiftRightArithmetic, 0, 12, DType::kS32); },
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
