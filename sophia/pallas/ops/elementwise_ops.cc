// Elementwise kernel ops. Each block: Mosaic's name by element kind, and the graph op that it
// means.
#include <cmath>
#include <numbers>
#include <numeric>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/pallas/ops/op_util.h"

namespace sophia::pallas {
namespace {

using In = std::span<const int64_t>;

int64_t MultipleOf(const Instr& instr, size_t i) { return instr.inputs[i].instr()->multiple; }
int64_t CommonMultiple(const Instr& instr) {
  return std::gcd(MultipleOf(instr, 0), MultipleOf(instr, 1));
}

// A unary function of floats.
consteval KernelOp FloatFunction(std::string_view name, std::string_view mosaic,
                                 std::vector<Tensor> (*interpret)(const Instr&, Interpreter&)) {
  return Op(
      {.name = name, .mosaic = {.on_float = mosaic}, .type = SameShape, .interpret = interpret});
}

constinit const KernelOp kCeil = FloatFunction("ceil", "math.ceil", Interpret1<sophia::Ceil>);
constinit const KernelOp kCos = FloatFunction("cos", "math.cos", Interpret1<sophia::Cos>);
constinit const KernelOp kExp = FloatFunction("exp", "math.exp", Interpret1<sophia::Exp>);
constinit const KernelOp kExp2 =
    FloatFunction("exp2", "math.exp2", [](const Instr& instr, Interpreter& in) {
      return std::vector{sophia::Exp(in.In(instr, 0) * std::numbers::ln2, instr.loc)};
    });
constinit const KernelOp kFloor = FloatFunction("floor", "math.floor", Interpret1<sophia::Floor>);
constinit const KernelOp kLog = FloatFunction("log", "math.log", Interpret1<sophia::Log>);
constinit const KernelOp kLog1p = FloatFunction("log1p", "math.log1p", Interpret1<sophia::Log1p>);
constinit const KernelOp kNeg = FloatFunction("neg", "arith.negf", Interpret1<sophia::Neg>);
constinit const KernelOp kRoundNearestEven =
    FloatFunction("round_nearest_even", "math.roundeven", Interpret1<sophia::RoundNearestEven>);
constinit const KernelOp kRsqrt = FloatFunction("rsqrt", "math.rsqrt", Interpret1<sophia::Rsqrt>);
constinit const KernelOp kSin = FloatFunction("sin", "math.sin", Interpret1<sophia::Sin>);
constinit const KernelOp kSqrt = FloatFunction("sqrt", "math.sqrt", Interpret1<sophia::Sqrt>);
constinit const KernelOp kTanh = FloatFunction("tanh", "math.tanh", Interpret1<sophia::Tanh>);

constinit const KernelOp kAbs = Op({.name = "abs",
                                    .mosaic = {.on_float = "math.absf", .on_signed = "math.absi"},
                                    .type = SameShape,
                                    .interpret = Interpret1<sophia::Abs>});

std::vector<Shape> F32ToBool(const Instr& instr) {
  if (instr.inputs[0].dtype() != DType::kF32) {
    FailIn(instr, "expected f32, got {}", ToString(instr.inputs[0].shape()));
  }
  return {{DType::kBool, instr.inputs[0].dims()}};
}

constinit const KernelOp kIsNotFinite =
    Op({.name = "is_not_finite",
        .mosaic = {.on_float = "tpu.weird"},
        .type = F32ToBool,
        .interpret = [](const Instr& instr, Interpreter& in) {
          return std::vector{sophia::Not(sophia::IsFinite(in.In(instr, 0)), instr.loc)};
        }});

constinit const KernelOp kReciprocal =
    Op({.name = "reciprocal",
        .mosaic = {.on_float = "tpu.reciprocal"},
        .attributes =
            [](const Instr& instr) {
              return fmt::format("approx = {}, full_range = {}", instr.attrs.Get<bool>("approx"),
                                 !instr.attrs.Get<bool>("approx"));
            },
        .type =
            [](const Instr& instr) {
              F32ToBool(instr);
              return SameShape(instr);
            },
        .interpret = [](const Instr& instr,
                        Interpreter& in) { return std::vector{1.0 / in.In(instr, 0)}; }});

constinit const KernelOp kAdd =
    Op({.name = "add",
        .mosaic = {"arith.addf", "arith.addi", "arith.addi"},
        .type = SameShape,
        .interpret = Interpret2<sophia::Add>,
        .multiple = CommonMultiple,
        .fold = [](const Instr& /*instr*/, In in) { return in[0] + in[1]; },
        .int_bits = 16});

constinit const KernelOp kSub =
    Op({.name = "sub",
        .mosaic = {"arith.subf", "arith.subi", "arith.subi"},
        .type = SameShape,
        .interpret = Interpret2<sophia::Sub>,
        .multiple = CommonMultiple,
        .fold = [](const Instr& /*instr*/, In in) { return in[0] - in[1]; },
        .int_bits = 16});

constinit const KernelOp kMul =
    Op({.name = "mul",
        .mosaic = {"arith.mulf", "arith.muli", "arith.muli"},
        .type = SameShape,
        .interpret = Interpret2<sophia::Mul>,
        .multiple =
            [](const Instr& instr) {
              const int64_t product = MultipleOf(instr, 0) * MultipleOf(instr, 1);
              constexpr int64_t kLimit = 1 << 30;
              return product <= kLimit ? product : std::gcd(product, kLimit);
            },
        .fold = [](const Instr& /*instr*/, In in) { return in[0] * in[1]; },
        .int_bits = 16});

constinit const KernelOp kDiv =
    Op({.name = "div",
        .mosaic = {"arith.divf", "arith.divsi", "arith.divui"},
        .type = SameShape,
        .interpret = Interpret2<sophia::Div>,
        .fold = [](const Instr& /*instr*/, In in) { return in[1] == 0 ? -1 : in[0] / in[1]; }});

constinit const KernelOp kRem =
    Op({.name = "rem",
        .mosaic = {"arith.remf", "arith.remsi", "arith.remui"},
        .type =
            [](const Instr& instr) {
              if (instr.inputs[0].dtype() == DType::kBF16) {
                FailIn(instr, "expected f32 or 32-bit integers, got bf16; convert to f32 first");
              }
              return SameShape(instr);
            },
        .interpret = Interpret2<sophia::Rem>,
        .multiple = CommonMultiple,
        .fold = [](const Instr& /*instr*/, In in) { return in[1] == 0 ? in[0] : in[0] % in[1]; }});

constinit const KernelOp kPow = Op({.name = "pow",
                                    .mosaic = {.on_float = "math.powf"},
                                    .type = SameShape,
                                    .interpret = Interpret2<sophia::Pow>});

constinit const KernelOp kMax =
    Op({.name = "max",
        .mosaic = {"arith.maximumf", "arith.maxsi", "arith.maxui"},
        .type = SameShape,
        .interpret = Interpret2<sophia::Max>,
        .multiple = CommonMultiple,
        .fold = [](const Instr& /*instr*/, In in) { return std::max(in[0], in[1]); }});

constinit const KernelOp kMin =
    Op({.name = "min",
        .mosaic = {"arith.minimumf", "arith.minsi", "arith.minui"},
        .type = SameShape,
        .interpret = Interpret2<sophia::Min>,
        .multiple = CommonMultiple,
        .fold = [](const Instr& /*instr*/, In in) { return std::min(in[0], in[1]); }});

constinit const KernelOp kAnd =
    Op({.name = "and",
        .mosaic = {"", "arith.andi", "arith.andi", "arith.andi"},
        .type = SameShape,
        .interpret = Interpret2<sophia::And>,
        .fold = [](const Instr& /*instr*/, In in) { return in[0] & in[1]; },
        .int_bits = 4});

constinit const KernelOp kOr =
    Op({.name = "or",
        .mosaic = {"", "arith.ori", "arith.ori", "arith.ori"},
        .type = SameShape,
        .interpret = Interpret2<sophia::Or>,
        .fold = [](const Instr& /*instr*/, In in) { return in[0] | in[1]; },
        .int_bits = 4});

constinit const KernelOp kXor =
    Op({.name = "xor",
        .mosaic = {"", "arith.xori", "arith.xori", "arith.xori"},
        .type = SameShape,
        .interpret = Interpret2<sophia::Xor>,
        .fold = [](const Instr& /*instr*/, In in) { return in[0] ^ in[1]; },
        .int_bits = 4});

constinit const KernelOp kShiftLeft = Op({.name = "shift_left",
                                          .mosaic = {"", "arith.shli", "arith.shli"},
                                          .type = SameShape,
                                          .interpret = Interpret2<sophia::ShiftLeft>,
                                          .int_bits = 4});

constinit const KernelOp kShiftRightLogical =
    Op({.name = "shift_right_logical",
        .mosaic = {"", "arith.shrui", "arith.shrui"},
        .type = SameShape,
        .interpret = Interpret2<sophia::ShiftRightLogical>,
        .int_bits = 4});

constinit const KernelOp kShiftRightArithmetic =
    Op({.name = "shift_right_arithmetic",
        .mosaic = {"", "arith.shrsi", "arith.shrsi"},
        .type = SameShape,
        .interpret = Interpret2<sophia::ShiftRightArithmetic>,
        .fold = [](const Instr& /*instr*/,
                   In in) { return in[0] >> std::clamp<int64_t>(in[1], 0, 31); },
        .int_bits = 4});

// Comparisons: MLIR's predicate numbers for floats, signed and unsigned integers.
template <int Float, int Signed, int Unsigned>
std::string Predicate(const Instr& instr) {
  const DTypeKind kind = Info(instr.inputs[0].dtype()).kind;
  return fmt::format("predicate = {} : i64", kind == DTypeKind::kFloat    ? Float
                                             : kind == DTypeKind::kSigned ? Signed
                                                                          : Unsigned);
}

std::vector<Shape> CompareType(const Instr& instr) {
  return {{DType::kBool, SameShape(instr)[0].dims}};
}

std::string CompareLacks(const Instr& instr, const ChipInfo& chip) {
  const DType dtype = instr.inputs[0].dtype();
  if (chip.narrow_compare || IsFloat(dtype) || Info(dtype).bits == 32) return "";
  return fmt::format("expected 32-bit integers to compare, got {}", Name(dtype));
}

consteval KernelOp Comparison(std::string_view name, std::string_view on_float,
                              std::string (*predicate)(const Instr&),
                              std::vector<Tensor> (*interpret)(const Instr&, Interpreter&),
                              int64_t (*fold)(const Instr&, In)) {
  return Op({.name = name,
             .mosaic = {on_float, "arith.cmpi", "arith.cmpi"},
             .attributes = predicate,
             .type = CompareType,
             .interpret = interpret,
             .lacks = CompareLacks,
             .fold = fold,
             .int_bits = 8});
}

constinit const KernelOp kEq =
    Comparison("eq", "arith.cmpf", Predicate<1, 0, 0>, Interpret2<sophia::Eq>,
               [](const Instr& /*instr*/, In in) -> int64_t { return in[0] == in[1]; });
constinit const KernelOp kNe =
    Comparison("ne", "", Predicate<0, 1, 1>, Interpret2<sophia::Ne>,
               [](const Instr& /*instr*/, In in) -> int64_t { return in[0] != in[1]; });
constinit const KernelOp kLt =
    Comparison("lt", "arith.cmpf", Predicate<4, 2, 6>, Interpret2<sophia::Lt>,
               [](const Instr& /*instr*/, In in) -> int64_t { return in[0] < in[1]; });
constinit const KernelOp kLe =
    Comparison("le", "arith.cmpf", Predicate<5, 3, 7>, Interpret2<sophia::Le>,
               [](const Instr& /*instr*/, In in) -> int64_t { return in[0] <= in[1]; });
constinit const KernelOp kGt =
    Comparison("gt", "arith.cmpf", Predicate<2, 4, 8>, Interpret2<sophia::Gt>,
               [](const Instr& /*instr*/, In in) -> int64_t { return in[0] > in[1]; });
constinit const KernelOp kGe =
    Comparison("ge", "arith.cmpf", Predicate<3, 5, 9>, Interpret2<sophia::Ge>,
               [](const Instr& /*instr*/, In in) -> int64_t { return in[0] >= in[1]; });

constinit const KernelOp kSelect =
    Op({.name = "select",
        .mosaic = {.on_bool = "arith.select"},
        .type = [](const Instr& instr) -> std::vector<Shape> {
          const Shape& condition = instr.inputs[0].shape();
          const Shape& a = instr.inputs[1].shape();
          CheckElements(instr, condition.dtype);
          if (!condition.dims.empty() && condition.dims != a.dims) {
            FailIn(instr, "expected a condition of the operands' shape {}, got {}",
                   ToString(a.dims), ToString(condition.dims));
          }
          return {a};
        },
        .interpret =
            [](const Instr& instr, Interpreter& in) {
              return std::vector{sophia::Select(in.In(instr, 0), {in.In(instr, 1), instr.loc},
                                                {in.In(instr, 2), instr.loc})};
            },
        .multiple =
            [](const Instr& instr) { return std::gcd(MultipleOf(instr, 1), MultipleOf(instr, 2)); },
        .fold = [](const Instr& /*instr*/, In in) { return in[0] != 0 ? in[1] : in[2]; }});

Val Binary(const KernelOp& op, const Arg& a, const Arg& b) {
  const ArgPair pair = Broadcast(op.name, a, b);
  return Apply(op, {pair.a, pair.b}, {}, pair.loc);
}

}  // namespace

Val Add(Arg a, Arg b) { return Binary(kAdd, a, b); }
Val Sub(Arg a, Arg b) { return Binary(kSub, a, b); }
Val Mul(Arg a, Arg b) { return Binary(kMul, a, b); }
Val Div(Arg a, Arg b) { return Binary(kDiv, a, b); }
Val Rem(Arg a, Arg b) { return Binary(kRem, a, b); }
Val Pow(Arg a, Arg b) { return Binary(kPow, a, b); }
Val Max(Arg a, Arg b) { return Binary(kMax, a, b); }
Val Min(Arg a, Arg b) { return Binary(kMin, a, b); }
Val And(Arg a, Arg b) { return Binary(kAnd, a, b); }
Val Or(Arg a, Arg b) { return Binary(kOr, a, b); }
Val Xor(Arg a, Arg b) { return Binary(kXor, a, b); }
Val ShiftLeft(Arg a, Arg bits) { return Binary(kShiftLeft, a, bits); }
Val ShiftRightLogical(Arg a, Arg bits) { return Binary(kShiftRightLogical, a, bits); }
Val ShiftRightArithmetic(Arg a, Arg bits) { return Binary(kShiftRightArithmetic, a, bits); }
Val Eq(Arg a, Arg b) { return Binary(kEq, a, b); }
Val Ne(Arg a, Arg b) {
  const ArgPair pair = Broadcast("ne", a, b);
  if (!IsFloat(pair.a.dtype())) return Apply(kNe, {pair.a, pair.b}, {}, pair.loc);
  // libtpu has no unordered comparison.
  return Not(Apply(kEq, {pair.a, pair.b}, {}, pair.loc), pair.loc);
}
Val Lt(Arg a, Arg b) { return Binary(kLt, a, b); }
Val Le(Arg a, Arg b) { return Binary(kLe, a, b); }
Val Gt(Arg a, Arg b) { return Binary(kGt, a, b); }
Val Ge(Arg a, Arg b) { return Binary(kGe, a, b); }

Val Select(const Val& condition, Arg a, Arg b) {
  ArgPair pair = Broadcast("select", a, b);
  Val mask = condition;
  if (!condition.is_scalar() && condition.dims() != pair.a.dims()) {
    const Dims dims = BroadcastDims(condition.dims(), pair.a.dims(), "select", pair.loc);
    mask = BroadcastTo(condition, dims, pair.loc);
    pair.a = BroadcastTo(pair.a, dims, pair.loc);
    pair.b = BroadcastTo(pair.b, dims, pair.loc);
  }
  return Apply(kSelect, {mask, pair.a, pair.b}, {}, pair.loc);
}

Val Abs(const Val& x, Loc loc) { return Apply(kAbs, {x}, {}, loc); }
Val Ceil(const Val& x, Loc loc) { return Apply(kCeil, {x}, {}, loc); }
Val Cos(const Val& x, Loc loc) { return Apply(kCos, {x}, {}, loc); }
Val Exp(const Val& x, Loc loc) { return Apply(kExp, {x}, {}, loc); }
Val Exp2(const Val& x, Loc loc) { return Apply(kExp2, {x}, {}, loc); }
Val Floor(const Val& x, Loc loc) { return Apply(kFloor, {x}, {}, loc); }
Val IsFinite(const Val& x, Loc loc) { return Not(Apply(kIsNotFinite, {x}, {}, loc), loc); }
Val Log(const Val& x, Loc loc) { return Apply(kLog, {x}, {}, loc); }
Val Log1p(const Val& x, Loc loc) { return Apply(kLog1p, {x}, {}, loc); }
Val Logistic(const Val& x, Loc loc) {
  return Arg(1.0, loc) / (Arg(1.0, loc) + Exp(Neg(x, loc), loc));
}
Val Neg(const Val& x, Loc loc) {
  return IsFloat(x.dtype()) ? Apply(kNeg, {x}, {}, loc) : Arg(0, loc) - Arg(x, loc);
}
Val Not(const Val& x, Loc loc) {
  return Xor(Arg(x, loc), Arg(x.dtype() == DType::kBool ? 1 : -1, loc));
}
Val RoundNearestEven(const Val& x, Loc loc) { return Apply(kRoundNearestEven, {x}, {}, loc); }
Val Rsqrt(const Val& x, Loc loc) { return Apply(kRsqrt, {x}, {}, loc); }
Val Sin(const Val& x, Loc loc) { return Apply(kSin, {x}, {}, loc); }
Val Sqrt(const Val& x, Loc loc) { return Apply(kSqrt, {x}, {}, loc); }
Val Tanh(const Val& x, Loc loc) { return Apply(kTanh, {x}, {}, loc); }
Val Reciprocal(const Val& x, const ReciprocalOptions& options, Loc loc) {
  return Apply(kReciprocal, {x}, {{"approx", options.approx}}, loc);
}

std::vector<const KernelOp*> ElementwiseOps() {
  return {&kAbs,
          &kCeil,
          &kCos,
          &kExp,
          &kExp2,
          &kFloor,
          &kIsNotFinite,
          &kLog,
          &kLog1p,
          &kNeg,
          &kReciprocal,
          &kRoundNearestEven,
          &kRsqrt,
          &kSin,
          &kSqrt,
          &kTanh,
          &kAdd,
          &kSub,
          &kMul,
          &kDiv,
          &kRem,
          &kPow,
          &kMax,
          &kMin,
          &kAnd,
          &kOr,
          &kXor,
          &kShiftLeft,
          &kShiftRightLogical,
          &kShiftRightArithmetic,
          &kEq,
          &kNe,
          &kLt,
          &kLe,
          &kGt,
          &kGe,
          &kSelect};
}

}  // namespace sophia::pallas
