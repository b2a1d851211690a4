// Reductions. One op per combining function, printed as a stablehlo.reduce with a one-op body.
#include "sophia/graph/ops/reduce_ops.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/op_lists.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/printer.h"

namespace sophia {
namespace {

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;

std::vector<Shape> ReducedShape(const ShapeArgs& args) {
  const Dims& axes = args.attrs.Get<Dims>("axes");
  Shape shape{args.inputs[0].dtype, {}};
  for (int64_t i = 0; i < args.inputs[0].rank(); ++i) {
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) {
      shape.dims.push_back(args.inputs[0].dims[static_cast<size_t>(i)]);
    }
  }
  return {shape};
}

std::vector<Shape> ReducedBool(const ShapeArgs& args) {
  if (args.inputs[0].dtype != DType::kBool) {
    args.Fail("expected a bool operand, got {}", ToString(args.inputs[0]));
  }
  return ReducedShape(args);
}

// Spreads a reduced tensor over the dimensions of the operand again.
Tensor Spread(const Tensor& reduced, const Node& node) {
  const Dims& dims = node.inputs[0].dims();
  const Dims& axes = node.attrs.Get<Dims>("axes");
  Dims map;
  for (int64_t i = 0; i < static_cast<int64_t>(dims.size()); ++i) {
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) map.push_back(i);
  }
  return BroadcastInDim(reduced, dims, map);
}

void PrintReduce(const Node& node, RegionPrinter& printer, std::string_view combine,
                 double initial) {
  const DType dtype = node.results[0].dtype;
  const std::string init = printer.Scalar(dtype, initial);
  const std::string scalar = RegionPrinter::Type({dtype, {}});
  const std::string a = printer.FreshName();
  const std::string b = printer.FreshName();
  const std::string c = printer.FreshName();
  printer.Line(fmt::format(
      "{} = \"stablehlo.reduce\"({}, {}) ({{\n^bb0({}: {s}, {}: {s}):\n  {} = \"{}\"({}, {}) : "
      "({s}, {s}) -> {s}\n  \"stablehlo.return\"({}) : ({s}) -> ()\n}}) {{dimensions = {}}} : ({}, "
      "{s}) -> {}",
      printer.Define(node), printer.Ref(node.inputs[0]), init, a, b, c, combine, a, b, c,
      I64Array(node.attrs.Get<Dims>("axes")), RegionPrinter::Type(node.inputs[0].shape()),
      RegionPrinter::Type(node.results[0]), fmt::arg("s", scalar)));
}

double Lowest(DType dtype) {
  if (IsFloat(dtype)) return -std::numeric_limits<double>::infinity();
  const DTypeInfo& info = Info(dtype);
  return info.kind == DTypeKind::kSigned ? -std::ldexp(1.0, info.bits - 1) : 0.0;
}

double Highest(DType dtype) {
  if (IsFloat(dtype)) return std::numeric_limits<double>::infinity();
  SOPHIA_CHECK(Info(dtype).bits <= 32, "reduce_min of {}", Name(dtype));
  const DTypeInfo& info = Info(dtype);
  return std::ldexp(1.0, info.kind == DTypeKind::kSigned ? info.bits - 1 : info.bits) - 1;
}

using ReduceFunction = Tensor (*)(const Tensor&, const Dims&, ReduceOptions, Loc);

// One sample a type; the first has the op's own name.
std::vector<OpSample> Reductions(const std::string& name, ReduceFunction function,
                                 std::span<const DType> dtypes) {
  std::vector<OpSample> samples;
  for (const DType dtype : dtypes) {
    samples.push_back({.name = dtype == dtypes[0] ? name : fmt::format("{}/{}", name, Name(dtype)),
                       .inputs = {{dtype, {3, 4, 2}}},
                       .call =
                           [function](In in) {
                             return Out{function(in[0], {0, -1}, {}, Loc::current()),
                                        function(in[0], {1}, {.keep_dims = true}, Loc::current()),
                                        function(in[0], {0, 1, 2}, {}, Loc::current())};
                           },
                       .low = dtype == DType::kBool ? 0.0 : -2.0});
  }
  return samples;
}

constexpr std::array kBool = {DType::kBool};
constexpr std::array kNumbers = {DType::kF32, DType::kBF16, DType::kS32};

// With ties: the shares of equal elements add up.
std::vector<OpSample> Extrema(const std::string& name, ReduceFunction function) {
  std::vector<OpSample> samples = Reductions(name, function, kNumbers);
  samples.push_back({.name = name + "/ties", .inputs = {{DType::kF32, {3}}}, .call = [=](In in) {
                       return Out{function(BroadcastTo(in[0], {4, 3}), {0}, {}, Loc::current())};
                     }});
  return samples;
}

constinit const OpDef kReduceSum = Op({
    .name = "reduce_sum",
    .shape = ReducedShape,
    .vjp = [](VjpContext& c) { c.Add(0, Spread(c.Grad(0), c.node())); },
    .print = [](const Node& node,
                RegionPrinter& printer) { PrintReduce(node, printer, "stablehlo.add", 0); },
    .samples = [] { return Reductions("reduce_sum", Sum, kNumbers); },
});

// d prod = prod / x, so zeros in x are not supported by the gradient.
constinit const OpDef kReduceProd = Op({
    .name = "reduce_prod",
    .shape = ReducedShape,
    .vjp = [](VjpContext& c) { c.Add(0, Spread(c.Grad(0) * c.Out(0), c.node()) / c.In(0)); },
    .print = [](const Node& node,
                RegionPrinter& printer) { PrintReduce(node, printer, "stablehlo.multiply", 1); },
    .samples = [] { return Reductions("reduce_prod", Prod, kNumbers); },
});

// Elements that tie share the gradient equally, as in JAX.
void ExtremumVjp(VjpContext& c) {
  const Tensor x = c.In(0);
  const Tensor chosen = Convert(Eq(x, Spread(c.Out(0), c.node())), x.dtype());
  const Tensor count = Sum(chosen, c.node().attrs.Get<Dims>("axes"));
  c.Add(0, chosen * Spread(c.Grad(0) / count, c.node()));
}

constinit const OpDef kReduceMax = Op({
    .name = "reduce_max",
    .shape = ReducedShape,
    .vjp = ExtremumVjp,
    .print =
        [](const Node& node, RegionPrinter& printer) {
          PrintReduce(node, printer, "stablehlo.maximum", Lowest(node.results[0].dtype));
        },
    .samples = [] { return Extrema("reduce_max", ReduceMax); },
});

constinit const OpDef kReduceMin = Op({
    .name = "reduce_min",
    .shape = ReducedShape,
    .vjp = ExtremumVjp,
    .print =
        [](const Node& node, RegionPrinter& printer) {
          PrintReduce(node, printer, "stablehlo.minimum", Highest(node.results[0].dtype));
        },
    .samples = [] { return Extrema("reduce_min", ReduceMin); },
});

constinit const OpDef kReduceAnd = Op({
    .name = "reduce_and",
    .shape = ReducedBool,
    .gradient = OpDef::Gradient::kNone,
    .print = [](const Node& node,
                RegionPrinter& printer) { PrintReduce(node, printer, "stablehlo.and", 1); },
    .samples = [] { return Reductions("reduce_and", All, kBool); },
});

constinit const OpDef kReduceOr = Op({
    .name = "reduce_or",
    .shape = ReducedBool,
    .gradient = OpDef::Gradient::kNone,
    .print = [](const Node& node,
                RegionPrinter& printer) { PrintReduce(node, printer, "stablehlo.or", 0); },
    .samples = [] { return Reductions("reduce_or", Any, kBool); },
});

Tensor ApplyReduce(const OpDef& op, const Tensor& x, const Dims& axes, ReduceOptions options,
                   Loc loc) {
  Dims checked;
  for (const int64_t axis : axes) checked.push_back(CheckedAxis(axis, x.rank(), op.name, loc));
  std::sort(checked.begin(), checked.end());
  if (std::adjacent_find(checked.begin(), checked.end()) != checked.end()) {
    FailAt(loc, "{}: expected each axis once, got {}", op.name, ToString(axes));
  }
  if (checked.empty()) return x;
  const Tensor reduced = Apply(op, {x}, {{"axes", checked}}, loc);
  if (!options.keep_dims) return reduced;
  Dims dims = x.dims();
  for (const int64_t axis : checked) dims[static_cast<size_t>(axis)] = 1;
  return Reshape(reduced, dims, loc);
}

}  // namespace

Tensor Sum(const Tensor& x, const Dims& axes, ReduceOptions options, Loc loc) {
  return ApplyReduce(kReduceSum, x, axes, options, loc);
}

Tensor Sum(const Tensor& x, Loc loc) {
  Dims axes(x.dims().size());
  std::iota(axes.begin(), axes.end(), 0);
  return Sum(x, axes, {}, loc);
}

Tensor Prod(const Tensor& x, const Dims& axes, ReduceOptions options, Loc loc) {
  return ApplyReduce(kReduceProd, x, axes, options, loc);
}

Tensor ReduceMax(const Tensor& x, const Dims& axes, ReduceOptions options, Loc loc) {
  return ApplyReduce(kReduceMax, x, axes, options, loc);
}

Tensor ReduceMin(const Tensor& x, const Dims& axes, ReduceOptions options, Loc loc) {
  return ApplyReduce(kReduceMin, x, axes, options, loc);
}

Tensor All(const Tensor& x, const Dims& axes, ReduceOptions options, Loc loc) {
  return ApplyReduce(kReduceAnd, x, axes, options, loc);
}

Tensor Any(const Tensor& x, const Dims& axes, ReduceOptions options, Loc loc) {
  return ApplyReduce(kReduceOr, x, axes, options, loc);
}

Tensor Mean(const Tensor& x, const Dims& axes, ReduceOptions options, Loc loc) {
  const Tensor sum = Sum(x, axes, options, loc);
  const auto count =
      static_cast<double>(x.shape().elements()) / static_cast<double>(sum.shape().elements());
  return sum * Operand(1.0 / count, loc);
}

Tensor ArgMax(const Tensor& x, int64_t axis, Loc loc) {
  const int64_t at = CheckedAxis(axis, x.rank(), "argmax", loc);
  const Tensor index = Iota({DType::kS32, x.dims()}, at, loc);
  const Tensor is_largest = Eq({x, loc}, {ReduceMax(x, {at}, {.keep_dims = true}, loc), loc});
  const Tensor none = FullLike(index, static_cast<double>(x.dim(at)), loc);
  return ReduceMin(Select(is_largest, {index, loc}, {none, loc}), {at}, {}, loc);
}

namespace ops {

std::vector<const OpDef*> ReduceOps() {
  return {&kReduceSum, &kReduceProd, &kReduceMax, &kReduceMin, &kReduceAnd, &kReduceOr};
}

}  // namespace ops
}  // namespace sophia
