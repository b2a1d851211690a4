#include "sophia/graph/ops/sort_ops.h"

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/op_lists.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/printer.h"

namespace sophia {
namespace {

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;

void PrintSort(const Node& node, RegionPrinter& printer) {
  std::string arguments;
  std::string refs;
  std::string types;
  std::string first;
  std::string second;
  for (const Tensor& input : node.inputs) {
    const std::string scalar = RegionPrinter::Type({input.dtype(), {}});
    const std::string a = printer.FreshName();
    const std::string b = printer.FreshName();
    if (first.empty()) {
      first = a;
      second = b;
    } else {
      arguments += ", ";
      refs += ", ";
      types += ", ";
    }
    arguments += fmt::format("{}: {}, {}: {}", a, scalar, b, scalar);
    refs += printer.Ref(input);
    types += RegionPrinter::Type(input.shape());
  }
  const DType key = node.inputs[0].dtype();
  const std::string scalar = RegionPrinter::Type({key, {}});
  const bool descending = node.attrs.Get<bool>("descending");
  const std::string_view kind = IsFloat(key)                           ? "FLOAT"
                                : Info(key).kind == DTypeKind::kSigned ? "SIGNED"
                                                                       : "UNSIGNED";
  const std::string less = printer.FreshName();
  printer.Line(fmt::format(
      "{} = \"stablehlo.sort\"({}) ({{\n^bb0({}):\n  {} = \"stablehlo.compare\"({}, {}) "
      "{{comparison_direction = #stablehlo<comparison_direction {}>, compare_type = "
      "#stablehlo<comparison_type {}>}} : ({s}, {s}) -> tensor<i1>\n  \"stablehlo.return\"({}) : "
      "(tensor<i1>) -> ()\n}}) {{dimension = {} : i64, is_stable = true}} : ({}) -> ({})",
      printer.Define(node), refs, arguments, less, first, second, descending ? "GT" : "LT", kind,
      less, node.attrs.Get<int64_t>("axis"), types, types, fmt::arg("s", scalar)));
}

// Sorting permutes, so cotangents are permuted back.
void SortVjp(VjpContext& c) {
  const SortOptions options{.axis = c.node().attrs.Get<int64_t>("axis"),
                            .descending = c.node().attrs.Get<bool>("descending")};
  const Tensor permutation = ArgSort(c.In(0), options);
  const Tensor inverse = ArgSort(permutation, {.axis = options.axis});
  for (int i = 0; i < static_cast<int>(c.node().inputs.size()); ++i) {
    if (c.Wants(i)) c.Add(i, TakeAlongAxis(c.Grad(i), inverse, options.axis));
  }
}

constinit const OpDef kSort = Op({
    .name = "sort",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      for (const Shape& input : args.inputs) {
        if (input.dims != args.inputs[0].dims) {
          args.Fail("expected operands of one size, got {} and {}", ToString(args.inputs[0]),
                    ToString(input));
        }
      }
      return args.inputs;
    },
    .vjp = SortVjp,
    .print = PrintSort,
    .samples =
        [] {
          return std::vector<OpSample>{{.name = "sort",
                                        .inputs = {{DType::kF32, {3, 5}}},
                                        .call = [](In in) { return Sort({in[0]}, {.axis = 0}); }},
                                       {.name = "sort/s32",
                                        .inputs = {{DType::kS32, {3, 5}}, {DType::kF32, {3, 5}}},
                                        .call =
                                            [](In in) {
                                              return Sort({in[0], in[1]});
                                            }},
                                       {.name = "sort/argsort",
                                        .inputs = {{DType::kU8, {7}}},
                                        .call = [](In in) { return Out{ArgSort(in[0])}; },
                                        .low = 0,
                                        .high = 5},
                                       {.name = "sort/descending_pair",
                                        .inputs = {{DType::kF32, {3, 5}}, {DType::kF32, {3, 5}}},
                                        .call = [](In in) {
                                          return Sort({in[0], in[1]}, {.descending = true});
                                        }}};
        },
});

constinit const OpDef kRngBitGenerator = Op({
    .name = "rng_bit_generator",
    .mlir = "stablehlo.rng_bit_generator",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      if (args.inputs[0] != Shape{DType::kU64, {2}}) {
        args.Fail("expected a state u64[2], got {}", ToString(args.inputs[0]));
      }
      const Shape shape{args.attrs.Get<DType>("dtype"), args.attrs.Get<Dims>("dims")};
      if (Info(shape.dtype).kind != DTypeKind::kUnsigned) {
        args.Fail("expected an unsigned type, got {}", Name(shape.dtype));
      }
      return {args.inputs[0], shape};
    },
    .gradient = OpDef::Gradient::kNone,
    .attributes = [](const Node&) -> std::string {
      return "rng_algorithm = #stablehlo<rng_algorithm THREE_FRY>";
    },
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "rng_bit_generator", .call = [](In) {
                 const Tensor state = Convert(ConstantS32({2}, {7, 11}), DType::kU64);
                 const auto [next, bits] = RngBitGenerator(state, {DType::kU32, {5}});
                 return Out{next, bits};
               }}};
        },
});

}  // namespace

std::vector<Tensor> Sort(const std::vector<Tensor>& operands, SortOptions options, Loc loc) {
  if (operands.empty()) FailAt(loc, "sort: expected at least one operand, got none");
  const int64_t axis = CheckedAxis(options.axis, operands[0].rank(), "sort", loc);
  Node* node = AddNode(kSort, operands, {{"axis", axis}, {"descending", options.descending}}, loc);
  std::vector<Tensor> results;
  for (int i = 0; i < static_cast<int>(operands.size()); ++i) results.emplace_back(node, i);
  return results;
}

Tensor ArgSort(const Tensor& x, SortOptions options, Loc loc) {
  const int64_t axis = CheckedAxis(options.axis, x.rank(), "sort", loc);
  return Sort({x, Iota({DType::kS32, x.dims()}, axis, loc)}, options, loc)[1];
}

std::pair<Tensor, Tensor> RngBitGenerator(const Tensor& state, const Shape& shape, Loc loc) {
  Node* node =
      AddNode(kRngBitGenerator, {state}, {{"dtype", shape.dtype}, {"dims", shape.dims}}, loc);
  return {{node, 0}, {node, 1}};
}

namespace ops {

std::vector<const OpDef*> SortOps() { return {&kSort, &kRngBitGenerator}; }

}  // namespace ops
}  // namespace sophia
