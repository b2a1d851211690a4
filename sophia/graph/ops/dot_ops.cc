#include "sophia/graph/ops/dot_ops.h"

#include <algorithm>
#include <array>

#include "sophia/graph/ops/op_lists.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia {
namespace {

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;

bool Contains(const Dims& dims, int64_t axis) {
  return std::find(dims.begin(), dims.end(), axis) != dims.end();
}

Dims FreeAxes(int64_t rank, const Dims& batch, const Dims& contract) {
  Dims free;
  for (int64_t axis = 0; axis < rank; ++axis) {
    if (!Contains(batch, axis) && !Contains(contract, axis)) free.push_back(axis);
  }
  return free;
}

DotOptions OptionsOf(const Attrs& attrs) {
  return {.lhs_batch = attrs.Get<Dims>("lhs_batch"),
          .rhs_batch = attrs.Get<Dims>("rhs_batch"),
          .lhs_contract = attrs.Get<Dims>("lhs_contract"),
          .rhs_contract = attrs.Get<Dims>("rhs_contract"),
          .precision = static_cast<Precision>(attrs.Get<int64_t>("precision")),
          .result = attrs.Get<DType>("result")};
}

bool AxesFit(const Dims& batch, const Dims& contract, int64_t rank) {
  Dims all = batch;
  all.insert(all.end(), contract.begin(), contract.end());
  std::sort(all.begin(), all.end());
  return std::adjacent_find(all.begin(), all.end()) == all.end() &&
         (all.empty() || (all.front() >= 0 && all.back() < rank));
}

std::vector<Shape> DotShape(const ShapeArgs& args) {
  const DotOptions options = OptionsOf(args.attrs);
  const Shape& lhs = args.inputs[0];
  const Shape& rhs = args.inputs[1];
  bool fits = lhs.dtype == rhs.dtype && options.lhs_batch.size() == options.rhs_batch.size() &&
              options.lhs_contract.size() == options.rhs_contract.size() &&
              AxesFit(options.lhs_batch, options.lhs_contract, lhs.rank()) &&
              AxesFit(options.rhs_batch, options.rhs_contract, rhs.rank());
  const auto same = [&](const Dims& left, const Dims& right) {
    for (size_t i = 0; i < left.size(); ++i) {
      fits =
          fits && lhs.dims[static_cast<size_t>(left[i])] == rhs.dims[static_cast<size_t>(right[i])];
    }
  };
  if (fits) same(options.lhs_batch, options.rhs_batch);
  if (fits) same(options.lhs_contract, options.rhs_contract);
  if (!fits) {
    args.Fail(
        "expected operands of one type that agree in batch {}/{} and contracted {}/{} dimensions, "
        "got {} and {}",
        ToString(options.lhs_batch), ToString(options.rhs_batch), ToString(options.lhs_contract),
        ToString(options.rhs_contract), ToString(lhs), ToString(rhs));
  }
  Shape shape{*options.result, {}};
  const auto append = [&](const Shape& from, const Dims& axes) {
    for (const int64_t axis : axes) shape.dims.push_back(from.dims[static_cast<size_t>(axis)]);
  };
  append(lhs, options.lhs_batch);
  append(lhs, FreeAxes(lhs.rank(), options.lhs_batch, options.lhs_contract));
  append(rhs, FreeAxes(rhs.rank(), options.rhs_batch, options.rhs_contract));
  return {shape};
}

// The gradient of one operand: the result's cotangent times the other operand, contracted over the
// other's free dimensions, then put into the operand's order. The smaller factor goes to the left:
// where the contracted dimensions come first, compilers lay the left factor out anew.
Tensor OperandGradient(const Tensor& grad, const Tensor& other, const Shape& operand,
                       const DotOptions& options, bool is_lhs) {
  const Dims& own_batch = is_lhs ? options.lhs_batch : options.rhs_batch;
  const Dims& own_contract = is_lhs ? options.lhs_contract : options.rhs_contract;
  const Dims& other_batch = is_lhs ? options.rhs_batch : options.lhs_batch;
  const Dims& other_contract = is_lhs ? options.rhs_contract : options.lhs_contract;
  const Dims own_free = FreeAxes(operand.rank(), own_batch, own_contract);
  const Dims other_free = FreeAxes(other.rank(), other_batch, other_contract);
  const auto batches = static_cast<int64_t>(own_batch.size());

  DotOptions product{.precision = options.precision, .result = operand.dtype};
  for (int64_t i = 0; i < batches; ++i) product.lhs_batch.push_back(i);
  product.rhs_batch = other_batch;
  const int64_t first = batches + (is_lhs ? static_cast<int64_t>(own_free.size()) : 0);
  for (size_t i = 0; i < other_free.size(); ++i) {
    product.lhs_contract.push_back(first + static_cast<int64_t>(i));
  }
  product.rhs_contract = other_free;
  const bool swap = !is_lhs && grad.shape().elements() > other.shape().elements();
  if (swap) {
    std::swap(product.lhs_batch, product.rhs_batch);
    std::swap(product.lhs_contract, product.rhs_contract);
  }
  const Tensor narrow = Convert(grad, other.dtype());
  const Tensor result =
      swap ? DotGeneral(other, narrow, product) : DotGeneral(narrow, other, product);

  // Result order: batch, then own free dimensions and the contracted ones in the other's axis order
  // (the contracted ones first if swapped).
  std::vector<std::pair<int64_t, int64_t>> contracted;
  for (size_t i = 0; i < own_contract.size(); ++i) {
    contracted.emplace_back(other_contract[i], own_contract[i]);
  }
  std::sort(contracted.begin(), contracted.end());
  Dims order = own_batch;
  if (!swap) order.insert(order.end(), own_free.begin(), own_free.end());
  for (const auto& [unused, own] : contracted) order.push_back(own);
  if (swap) order.insert(order.end(), own_free.begin(), own_free.end());
  Dims permutation(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    permutation[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
  }
  return std::is_sorted(permutation.begin(), permutation.end()) ? result
                                                                : Transpose(result, permutation);
}

std::string DotAttributes(const Node& node) {
  const DotOptions options = OptionsOf(node.attrs);
  constexpr std::array<std::string_view, 3> kNames = {"DEFAULT", "HIGH", "HIGHEST"};
  const std::string_view precision = kNames[static_cast<size_t>(options.precision)];
  return fmt::format(
      "dot_dimension_numbers = #stablehlo.dot<lhs_batching_dimensions = {}, "
      "rhs_batching_dimensions = {}, lhs_contracting_dimensions = {}, rhs_contracting_dimensions "
      "= {}>, precision_config = [#stablehlo<precision {}>, #stablehlo<precision {}>]",
      I64List(options.lhs_batch), I64List(options.rhs_batch), I64List(options.lhs_contract),
      I64List(options.rhs_contract), precision, precision);
}

constinit const OpDef kDotGeneral = Op({
    .name = "dot_general",
    .mlir = "stablehlo.dot_general",
    .shape = DotShape,
    .vjp =
        [](VjpContext& c) {
          const DotOptions options = OptionsOf(c.node().attrs);
          if (c.Wants(0)) {
            c.Add(0, OperandGradient(c.Grad(0), c.In(1), c.InShape(0), options, true));
          }
          if (c.Wants(1)) {
            c.Add(1, OperandGradient(c.Grad(0), c.In(0), c.InShape(1), options, false));
          }
        },
    .attributes = DotAttributes,
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "dot_general/matmul",
               .inputs = {{DType::kF32, {3, 5}}, {DType::kF32, {5, 4}}},
               .call = [](In in) { return Out{MatMul(in[0], in[1])}; }},
              {.name = "dot_general/transposed",
               .inputs = {{DType::kF32, {2, 3, 5}}, {DType::kF32, {4, 5}}},
               .call =
                   [](In in) {
                     return Out{MatMul(in[0], in[1],
                                       {.transposed = true, .precision = Precision::kHighest})};
                   }},
              {.name = "dot_general/batched",
               .inputs = {{DType::kF32, {3, 2, 5, 4}}, {DType::kF32, {2, 5, 3, 6, 4}}},
               .call =
                   [](In in) {
                     return Out{DotGeneral(in[0], in[1],
                                           {.lhs_batch = {1},
                                            .rhs_batch = {0},
                                            .lhs_contract = {3, 0},
                                            .rhs_contract = {4, 2}})};
                   }},
              {.name = "dot_general/free_dims",
               .inputs = {{DType::kF32, {2, 3, 4}}, {DType::kF32, {5, 4, 6}}},
               .call =
                   [](In in) {
                     return Out{
                         DotGeneral(in[0], in[1], {.lhs_contract = {2}, .rhs_contract = {1}})};
                   }},
              {.name = "dot_general/contract_order",
               .inputs = {{DType::kF32, {3, 2, 5, 4}}, {DType::kF32, {5, 6, 3, 7}}},
               .call =
                   [](In in) {
                     return Out{DotGeneral(in[0], in[1],
                                           {.lhs_contract = {0, 2}, .rhs_contract = {2, 0}})};
                   }},
              {.name = "dot_general/batch_order",
               .inputs = {{DType::kF32, {3, 4, 2, 5}}, {DType::kF32, {2, 5, 6, 3}}},
               .call =
                   [](In in) {
                     return Out{DotGeneral(in[0], in[1],
                                           {.lhs_batch = {2, 0},
                                            .rhs_batch = {0, 3},
                                            .lhs_contract = {3},
                                            .rhs_contract = {1}})};
                   }},
              {.name = "dot_general/outer",
               .inputs = {{DType::kF32, {3}}, {DType::kF32, {2, 4}}},
               .call = [](In in) { return Out{DotGeneral(in[0], in[1], {})}; }},
              {.name = "dot_general/narrow",
               .inputs = {{DType::kBF16, {3, 5}}, {DType::kBF16, {5, 4}}},
               .call =
                   [](In in) {
                     return Out{MatMul(in[0], in[1]),
                                MatMul(in[0], in[1], {.result = DType::kF32})};
                   }},
              {.name = "dot_general/s8",
               .inputs = {{DType::kS8, {3, 5}}, {DType::kS8, {5, 4}}},
               .call = [](In in) { return Out{MatMul(in[0], in[1], {.result = DType::kS32})}; },
               .low = -128,
               .high = 128},
              {.name = "dot_general/bf16",
               .inputs = {{DType::kF32, {3, 5}}, {DType::kF32, {5, 4}}},
               .call =
                   [](In in) {
                     return Out{MatMul(Convert(in[0], DType::kBF16), Convert(in[1], DType::kBF16),
                                       {.result = DType::kF32})};
                   },
               .step = 0.25,
               .tolerance = 0.03}};
        },
});

Dims NonNegative(const Dims& axes, int64_t rank, Loc loc) {
  Dims checked;
  for (const int64_t axis : axes) checked.push_back(CheckedAxis(axis, rank, "dot_general", loc));
  return checked;
}

}  // namespace

Tensor DotGeneral(const Tensor& lhs, const Tensor& rhs, const DotOptions& options, Loc loc) {
  return Apply(kDotGeneral, {lhs, rhs},
               {{"lhs_batch", NonNegative(options.lhs_batch, lhs.rank(), loc)},
                {"rhs_batch", NonNegative(options.rhs_batch, rhs.rank(), loc)},
                {"lhs_contract", NonNegative(options.lhs_contract, lhs.rank(), loc)},
                {"rhs_contract", NonNegative(options.rhs_contract, rhs.rank(), loc)},
                {"precision", static_cast<int64_t>(options.precision)},
                {"result", options.result.value_or(lhs.dtype())}},
               loc);
}

Tensor MatMul(const Tensor& x, const Tensor& w, const MatMulOptions& options, Loc loc) {
  if (w.rank() != 2) {
    FailAt(loc, "matmul: expected a rank-2 weight, got {}", ToString(w.shape()));
  }
  return DotGeneral(x, w,
                    {.lhs_contract = {-1},
                     .rhs_contract = {options.transposed ? 1 : 0},
                     .precision = options.precision,
                     .result = options.result},
                    loc);
}

namespace ops {

std::vector<const OpDef*> DotOps() { return {&kDotGeneral}; }

}  // namespace ops
}  // namespace sophia
