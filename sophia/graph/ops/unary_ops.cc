// Elementwise ops of one operand. Each block: rule, gradient, test range, function.
#include <array>

#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/op_lists.h"
#include "sophia/graph/ops/op_util.h"

namespace sophia {
namespace {

std::vector<Shape> SameFloat(const ShapeArgs& args) {
  if (!IsFloat(args.inputs[0].dtype)) {
    args.Fail("expected a float operand, got {}", ToString(args.inputs[0]));
  }
  return {args.inputs[0]};
}

std::vector<Shape> SameNumber(const ShapeArgs& args) {
  if (args.inputs[0].dtype == DType::kBool) {
    args.Fail("expected a numeric operand, got {}", ToString(args.inputs[0]));
  }
  return {args.inputs[0]};
}

std::vector<Shape> SameBits(const ShapeArgs& args) {
  if (IsFloat(args.inputs[0].dtype)) {
    args.Fail("expected a bool or integer operand, got {}", ToString(args.inputs[0]));
  }
  return {args.inputs[0]};
}

std::vector<Shape> FloatToBool(const ShapeArgs& args) {
  SameFloat(args);
  return {{DType::kBool, args.inputs[0].dims}};
}

using UnaryFunction = Tensor (*)(const Tensor&, Loc);

constexpr std::array kFloats = {DType::kF32, DType::kBF16};
constexpr std::array kBits = {DType::kS32, DType::kU8, DType::kBool};
constexpr std::array kNumbers = {DType::kF32, DType::kBF16, DType::kS32};

// One sample a type; the first has the op's own name.
std::vector<OpSample> Unary(const std::string& name, UnaryFunction function, double low,
                            double high, std::span<const DType> dtypes = kFloats) {
  std::vector<OpSample> samples;
  for (const DType dtype : dtypes) {
    samples.push_back({.name = dtype == dtypes[0] ? name : fmt::format("{}/{}", name, Name(dtype)),
                       .inputs = {{dtype, {3, 5}}},
                       .call =
                           [function](std::span<const Tensor> in) {
                             return std::vector{function(in[0], Loc::current())};
                           },
                       .low = low,
                       .high = high});
  }
  return samples;
}

constinit const OpDef kAbs = Op({
    .name = "abs",
    .mlir = "stablehlo.abs",
    .shape = SameNumber,
    .vjp = [](VjpContext& c) { c.Add(0, c.Grad(0) * Sign(c.In(0))); },
    .samples = [] { return Unary("abs", Abs, 0.3, 2, kNumbers); },
});

// d cbrt(x) = 1 / (3 cbrt(x)^2)
constinit const OpDef kCbrt = Op({
    .name = "cbrt",
    .mlir = "stablehlo.cbrt",
    .shape = SameFloat,
    .vjp =
        [](VjpContext& c) {
          const Tensor y = c.Out(0);
          c.Add(0, c.Grad(0) / (3.0 * (y * y)));
        },
    .samples = [] { return Unary("cbrt", Cbrt, 0.3, 2); },
});

constinit const OpDef kCeil = Op({
    .name = "ceil",
    .mlir = "stablehlo.ceil",
    .shape = SameFloat,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Unary("ceil", Ceil, -3, 3); },
});

constinit const OpDef kCos = Op({
    .name = "cos",
    .mlir = "stablehlo.cosine",
    .shape = SameFloat,
    .vjp = [](VjpContext& c) { c.Add(0, -(c.Grad(0) * Sin(c.In(0)))); },
    .samples = [] { return Unary("cos", Cos, -3, 3); },
});

constinit const OpDef kExp = Op({
    .name = "exp",
    .mlir = "stablehlo.exponential",
    .shape = SameFloat,
    .vjp = [](VjpContext& c) { c.Add(0, c.Grad(0) * c.Out(0)); },
    .samples = [] { return Unary("exp", Exp, -2, 2); },
});

// d expm1(x) = expm1(x) + 1
constinit const OpDef kExpm1 = Op({
    .name = "expm1",
    .mlir = "stablehlo.exponential_minus_one",
    .shape = SameFloat,
    .vjp = [](VjpContext& c) { c.Add(0, c.Grad(0) * (c.Out(0) + 1.0)); },
    .samples = [] { return Unary("expm1", Expm1, -2, 2); },
});

constinit const OpDef kFloor = Op({
    .name = "floor",
    .mlir = "stablehlo.floor",
    .shape = SameFloat,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Unary("floor", Floor, -3, 3); },
});

constinit const OpDef kIsFinite = Op({
    .name = "is_finite",
    .mlir = "stablehlo.is_finite",
    .shape = FloatToBool,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Unary("is_finite", IsFinite, -3, 3); },
});

constinit const OpDef kLog = Op({
    .name = "log",
    .mlir = "stablehlo.log",
    .shape = SameFloat,
    .vjp = [](VjpContext& c) { c.Add(0, c.Grad(0) / c.In(0)); },
    .samples = [] { return Unary("log", Log, 0.3, 3); },
});

constinit const OpDef kLog1p = Op({
    .name = "log1p",
    .mlir = "stablehlo.log_plus_one",
    .shape = SameFloat,
    .vjp = [](VjpContext& c) { c.Add(0, c.Grad(0) / (c.In(0) + 1.0)); },
    .samples = [] { return Unary("log1p", Log1p, -0.5, 3); },
});

// d s(x) = s(x) (1 - s(x))
constinit const OpDef kLogistic = Op({
    .name = "logistic",
    .mlir = "stablehlo.logistic",
    .shape = SameFloat,
    .vjp =
        [](VjpContext& c) {
          const Tensor y = c.Out(0);
          c.Add(0, c.Grad(0) * (y * (1.0 - y)));
        },
    .samples = [] { return Unary("logistic", Logistic, -3, 3); },
});

constinit const OpDef kNeg = Op({
    .name = "neg",
    .mlir = "stablehlo.negate",
    .shape = SameNumber,
    .vjp = [](VjpContext& c) { c.Add(0, -c.Grad(0)); },
    .cheap = true,
    .samples = [] { return Unary("neg", Neg, -2, 2, kNumbers); },
});

constinit const OpDef kNot = Op({
    .name = "not",
    .mlir = "stablehlo.not",
    .shape = SameBits,
    .gradient = OpDef::Gradient::kNone,
    .cheap = true,
    .samples = [] { return Unary("not", Not, 0, 5, kBits); },
});

constinit const OpDef kRoundNearestEven = Op({
    .name = "round_nearest_even",
    .mlir = "stablehlo.round_nearest_even",
    .shape = SameFloat,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Unary("round_nearest_even", RoundNearestEven, -3, 3); },
});

// d x^(-1/2) = -1/2 (x^(-1/2))^3
constinit const OpDef kRsqrt = Op({
    .name = "rsqrt",
    .mlir = "stablehlo.rsqrt",
    .shape = SameFloat,
    .vjp =
        [](VjpContext& c) {
          const Tensor y = c.Out(0);
          c.Add(0, c.Grad(0) * (-0.5 * (y * y * y)));
        },
    .samples = [] { return Unary("rsqrt", Rsqrt, 0.3, 3); },
});

constinit const OpDef kSign = Op({
    .name = "sign",
    .mlir = "stablehlo.sign",
    .shape = SameNumber,
    .gradient = OpDef::Gradient::kNone,
    .samples = [] { return Unary("sign", Sign, -2, 2, kNumbers); },
});

constinit const OpDef kSin = Op({
    .name = "sin",
    .mlir = "stablehlo.sine",
    .shape = SameFloat,
    .vjp = [](VjpContext& c) { c.Add(0, c.Grad(0) * Cos(c.In(0))); },
    .samples = [] { return Unary("sin", Sin, -3, 3); },
});

// d sqrt(x) = 1 / (2 sqrt(x))
constinit const OpDef kSqrt = Op({
    .name = "sqrt",
    .mlir = "stablehlo.sqrt",
    .shape = SameFloat,
    .vjp = [](VjpContext& c) { c.Add(0, 0.5 * c.Grad(0) / c.Out(0)); },
    .samples = [] { return Unary("sqrt", Sqrt, 0.3, 3); },
});

// d tanh(x) = 1 - tanh(x)^2
constinit const OpDef kTanh = Op({
    .name = "tanh",
    .mlir = "stablehlo.tanh",
    .shape = SameFloat,
    .vjp =
        [](VjpContext& c) {
          const Tensor y = c.Out(0);
          c.Add(0, c.Grad(0) * (1.0 - y * y));
        },
    .samples = [] { return Unary("tanh", Tanh, -2, 2); },
});

}  // namespace

Tensor Abs(const Tensor& x, Loc loc) { return Apply(kAbs, {x}, {}, loc); }
Tensor Cbrt(const Tensor& x, Loc loc) { return Apply(kCbrt, {x}, {}, loc); }
Tensor Ceil(const Tensor& x, Loc loc) { return Apply(kCeil, {x}, {}, loc); }
Tensor Cos(const Tensor& x, Loc loc) { return Apply(kCos, {x}, {}, loc); }
Tensor Exp(const Tensor& x, Loc loc) { return Apply(kExp, {x}, {}, loc); }
Tensor Expm1(const Tensor& x, Loc loc) { return Apply(kExpm1, {x}, {}, loc); }
Tensor Floor(const Tensor& x, Loc loc) { return Apply(kFloor, {x}, {}, loc); }
Tensor IsFinite(const Tensor& x, Loc loc) { return Apply(kIsFinite, {x}, {}, loc); }
Tensor Log(const Tensor& x, Loc loc) { return Apply(kLog, {x}, {}, loc); }
Tensor Log1p(const Tensor& x, Loc loc) { return Apply(kLog1p, {x}, {}, loc); }
Tensor Logistic(const Tensor& x, Loc loc) { return Apply(kLogistic, {x}, {}, loc); }
Tensor Neg(const Tensor& x, Loc loc) { return Apply(kNeg, {x}, {}, loc); }
Tensor Not(const Tensor& x, Loc loc) { return Apply(kNot, {x}, {}, loc); }
Tensor RoundNearestEven(const Tensor& x, Loc loc) { return Apply(kRoundNearestEven, {x}, {}, loc); }
Tensor Rsqrt(const Tensor& x, Loc loc) { return Apply(kRsqrt, {x}, {}, loc); }
Tensor Sign(const Tensor& x, Loc loc) { return Apply(kSign, {x}, {}, loc); }
Tensor Sin(const Tensor& x, Loc loc) { return Apply(kSin, {x}, {}, loc); }
Tensor Sqrt(const Tensor& x, Loc loc) { return Apply(kSqrt, {x}, {}, loc); }
Tensor Tanh(const Tensor& x, Loc loc) { return Apply(kTanh, {x}, {}, loc); }

namespace ops {

std::vector<const OpDef*> UnaryOps() {
  return {&kAbs,      &kCbrt, &kCeil,  &kCos,      &kExp, &kExpm1, &kFloor,
          &kIsFinite, &kLog,  &kLog1p, &kLogistic, &kNeg, &kNot,   &kRoundNearestEven,
          &kRsqrt,    &kSign, &kSin,   &kSqrt,     &kTanh};
}

}  // namespace ops
}  // namespace sophia
