// Comparisons, selection and clamping.
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/op_lists.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia {
namespace {

std::vector<OpSample> CompareSamples() {
  struct Row {
    const char* name;
    Tensor (*function)(Operand, Operand);
  };
  std::vector<OpSample> samples;
  for (const Row& row :
       {Row{"eq", Eq}, {"ne", Ne}, {"lt", Lt}, {"le", Le}, {"gt", Gt}, {"ge", Ge}}) {
    for (const DType dtype :
         {DType::kF32, DType::kBF16, DType::kS32, DType::kU32, DType::kU8, DType::kBool}) {
      samples.push_back(
          {fmt::format("compare/{}/{}", row.name, Name(dtype)),
           {{dtype, {4, 3}}, {dtype, {4, 3}}},
           [f = row.function](std::span<const Tensor> in) { return std::vector{f(in[0], in[1])}; },
           0,
           3});
    }
  }
  return samples;
}

constinit const OpDef kCompare = Op({
    .name = "compare",
    .mlir = "stablehlo.compare",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      if (args.inputs[0] != args.inputs[1]) {
        args.Fail("expected operands of one shape, got {} and {}", ToString(args.inputs[0]),
                  ToString(args.inputs[1]));
      }
      return {{DType::kBool, args.inputs[0].dims}};
    },
    .gradient = OpDef::Gradient::kNone,
    .attributes =
        [](const Node& node) {
          const DType dtype = node.inputs[0].dtype();
          const bool is_unsigned =
              dtype == DType::kBool || Info(dtype).kind == DTypeKind::kUnsigned;
          return fmt::format(
              "comparison_direction = #stablehlo<comparison_direction {}>, "
              "compare_type = #stablehlo<comparison_type {}>",
              node.attrs.Get<std::string>("direction"),
              IsFloat(dtype) ? "FLOAT"
              : is_unsigned  ? "UNSIGNED"
                             : "SIGNED");
        },
    .samples = CompareSamples,
});

constinit const OpDef kSelect = Op({
    .name = "select",
    .mlir = "stablehlo.select",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      if (args.inputs[0].dtype != DType::kBool || args.inputs[0].dims != args.inputs[1].dims ||
          args.inputs[1] != args.inputs[2]) {
        args.Fail("expected a bool condition and two operands of its sizes, got {}, {} and {}",
                  ToString(args.inputs[0]), ToString(args.inputs[1]), ToString(args.inputs[2]));
      }
      return {args.inputs[1]};
    },
    .vjp =
        [](VjpContext& c) {
          const Tensor condition = c.In(0);
          if (c.Wants(1)) c.Add(1, Select(condition, c.Grad(0), 0.0));
          if (c.Wants(2)) c.Add(2, Select(condition, ZerosLike(c.Grad(0)), c.Grad(0)));
        },
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "select",
               .inputs = {{DType::kF32, {3, 4}}, {DType::kF32, {3, 4}}, {DType::kF32, {4}}},
               .call =
                   [](std::span<const Tensor> in) {
                     return std::vector{Select(Gt(in[0], 0.0), in[1], in[2])};
                   }},
              {.name = "select/s32",
               .inputs = {{DType::kS32, {3, 4}}, {DType::kS32, {3, 4}}},
               .call = [](std::span<const Tensor> in) {
                 return std::vector{Select(Lt(in[0], in[1]), in[0], 7.0)};
               }}};
        },
});

// The gradient goes to x where it lies within the bounds, else to the bound that it crosses.
constinit const OpDef kClamp = Op({
    .name = "clamp",
    .mlir = "stablehlo.clamp",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      if (args.inputs[0] != args.inputs[1] || args.inputs[2] != args.inputs[1]) {
        args.Fail("expected operands of one shape, got {}, {} and {}", ToString(args.inputs[0]),
                  ToString(args.inputs[1]), ToString(args.inputs[2]));
      }
      return {args.inputs[1]};
    },
    .vjp =
        [](VjpContext& c) {
          const Tensor x = c.In(1);
          const Tensor below = Lt(x, c.In(0));
          const Tensor above = Gt(x, c.In(2));
          const Tensor zero = ZerosLike(x);
          if (c.Wants(0)) c.Add(0, Select(below, c.Grad(0), zero));
          if (c.Wants(1)) c.Add(1, Select(Or(below, above), zero, c.Grad(0)));
          if (c.Wants(2)) c.Add(2, Select(above, c.Grad(0), zero));
        },
    .samples =
        [] {
          const auto numbers = [](std::span<const Tensor> in) {
            return std::vector{Clamp(-0.5, in[0], 0.75)};
          };
          return std::vector<OpSample>{
              {.name = "clamp", .inputs = {{DType::kF32, {3, 4}}}, .call = numbers},
              {.name = "clamp/bf16", .inputs = {{DType::kBF16, {3, 4}}}, .call = numbers},
              {.name = "clamp/bounds",
               .inputs = {{DType::kF32, {3, 4}}, {DType::kF32, {3, 4}}, {DType::kF32, {}}},
               .call =
                   [](std::span<const Tensor> in) {
                     return std::vector{Clamp(in[0] * 0.2 - 0.5, in[1], in[2] * 0.2 + 0.5)};
                   }},
              {.name = "clamp/s32",
               .inputs = {{DType::kS32, {3, 4}}},
               .call = [](std::span<const Tensor> in) { return std::vector{Clamp(-3, in[0], 4)}; },
               .low = -9,
               .high = 9}};
        },
});

Tensor ApplyCompare(const char* direction, const Operand& a, const Operand& b) {
  const OperandPair pair = BroadcastOperands("compare", a, b);
  return Apply(kCompare, {pair.a, pair.b}, {{"direction", std::string(direction)}}, pair.loc);
}

}  // namespace

Tensor Eq(Operand a, Operand b) { return ApplyCompare("EQ", a, b); }
Tensor Ne(Operand a, Operand b) { return ApplyCompare("NE", a, b); }
Tensor Lt(Operand a, Operand b) { return ApplyCompare("LT", a, b); }
Tensor Le(Operand a, Operand b) { return ApplyCompare("LE", a, b); }
Tensor Gt(Operand a, Operand b) { return ApplyCompare("GT", a, b); }
Tensor Ge(Operand a, Operand b) { return ApplyCompare("GE", a, b); }

Tensor Select(const Tensor& condition, Operand a, Operand b) {
  const OperandPair pair = BroadcastOperands("select", a, b);
  const Dims dims = BroadcastDims(condition.dims(), pair.a.dims(), "select", pair.loc);
  return Apply(kSelect,
               {BroadcastTo(condition, dims, pair.loc), BroadcastTo(pair.a, dims, pair.loc),
                BroadcastTo(pair.b, dims, pair.loc)},
               {}, pair.loc);
}

Tensor Clamp(Operand low, const Tensor& x, Operand high) {
  const auto bound = [&](const Operand& operand) {
    return operand.number() ? FullLike(x, *operand.number(), operand.loc())
                            : BroadcastTo(operand.tensor(), x.dims(), operand.loc());
  };
  return Apply(kClamp, {bound(low), x, bound(high)}, {}, low.loc());
}

namespace ops {

std::vector<const OpDef*> SelectOps() { return {&kCompare, &kSelect, &kClamp}; }

}  // namespace ops
}  // namespace sophia
