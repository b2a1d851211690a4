#include "sophia/graph/ops/gather_ops.h"

#include <algorithm>
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

bool Contains(const Dims& dims, int64_t axis) {
  return std::find(dims.begin(), dims.end(), axis) != dims.end();
}

GatherDims DimsOf(const Attrs& attrs) {
  return {.offset_dims = attrs.Get<Dims>("offset_dims"),
          .collapsed_slice_dims = attrs.Get<Dims>("collapsed_slice_dims"),
          .operand_batching_dims = attrs.Get<Dims>("operand_batching_dims"),
          .start_indices_batching_dims = attrs.Get<Dims>("start_indices_batching_dims"),
          .start_index_map = attrs.Get<Dims>("start_index_map"),
          .index_vector_dim = attrs.Get<int64_t>("index_vector_dim")};
}

Attrs AttrsOf(const GatherDims& dims, std::string_view name, AttrValue value) {
  return {{"offset_dims", dims.offset_dims},
          {"collapsed_slice_dims", dims.collapsed_slice_dims},
          {"operand_batching_dims", dims.operand_batching_dims},
          {"start_indices_batching_dims", dims.start_indices_batching_dims},
          {"start_index_map", dims.start_index_map},
          {"index_vector_dim", dims.index_vector_dim},
          {name, std::move(value)}};
}

// Sizes of the index tensor without the dimension that holds the index vector.
Dims BatchSizes(const Shape& indices, int64_t index_vector_dim) {
  Dims sizes = indices.dims;
  if (index_vector_dim < indices.rank()) sizes.erase(sizes.begin() + index_vector_dim);
  return sizes;
}

// Sizes of one slice without the dimensions that a gather leaves out.
Dims OffsetSizes(const Dims& slice_sizes, const GatherDims& dims) {
  Dims sizes;
  for (int64_t axis = 0; axis < static_cast<int64_t>(slice_sizes.size()); ++axis) {
    if (!Contains(dims.collapsed_slice_dims, axis) && !Contains(dims.operand_batching_dims, axis)) {
      sizes.push_back(slice_sizes[static_cast<size_t>(axis)]);
    }
  }
  return sizes;
}

void CheckDims(const ShapeArgs& args, const GatherDims& dims) {
  const Shape& operand = args.inputs[0];
  const Shape& indices = args.inputs[1];
  const bool vector_inside = dims.index_vector_dim < indices.rank();
  const int64_t vector =
      vector_inside ? indices.dims[static_cast<size_t>(dims.index_vector_dim)] : 1;
  if (!IsInteger(indices.dtype) || dims.index_vector_dim < 0 ||
      dims.index_vector_dim > indices.rank() ||
      vector != static_cast<int64_t>(dims.start_index_map.size())) {
    args.Fail("expected integer indices whose dimension {} has {} entries, got {} for {}",
              dims.index_vector_dim, dims.start_index_map.size(), ToString(indices),
              ToString(operand));
  }
}

std::vector<Shape> GatherShape(const ShapeArgs& args) {
  const GatherDims dims = DimsOf(args.attrs);
  CheckDims(args, dims);
  const Shape& operand = args.inputs[0];
  const Dims& slice_sizes = args.attrs.Get<Dims>("slice_sizes");
  bool fits = slice_sizes.size() == operand.dims.size();
  for (size_t i = 0; fits && i < slice_sizes.size(); ++i) {
    const auto axis = static_cast<int64_t>(i);
    const bool is_left_out =
        Contains(dims.collapsed_slice_dims, axis) || Contains(dims.operand_batching_dims, axis);
    fits = slice_sizes[i] <= (is_left_out ? 1 : operand.dims[i]);
  }
  const Dims offsets = fits ? OffsetSizes(slice_sizes, dims) : Dims{};
  const Dims batch = BatchSizes(args.inputs[1], dims.index_vector_dim);
  if (!fits || offsets.size() != dims.offset_dims.size()) {
    args.Fail(
        "expected slice sizes within {}, 1 where a dimension is left out, that leave {} "
        "dimensions, got {}",
        ToString(operand), dims.offset_dims.size(), ToString(slice_sizes));
  }
  Dims result(batch.size() + offsets.size());
  size_t next_batch = 0;
  size_t next_offset = 0;
  for (size_t i = 0; i < result.size(); ++i) {
    result[i] = Contains(dims.offset_dims, static_cast<int64_t>(i)) ? offsets[next_offset++]
                                                                    : batch[next_batch++];
  }
  return {{operand.dtype, result}};
}

std::string GatherAttributes(const Node& node) {
  const GatherDims dims = DimsOf(node.attrs);
  return fmt::format(
      "dimension_numbers = #stablehlo.gather<offset_dims = {}, collapsed_slice_dims = {}, "
      "operand_batching_dims = {}, start_indices_batching_dims = {}, start_index_map = {}, "
      "index_vector_dim = {}>, slice_sizes = {}, indices_are_sorted = false",
      I64List(dims.offset_dims), I64List(dims.collapsed_slice_dims),
      I64List(dims.operand_batching_dims), I64List(dims.start_indices_batching_dims),
      I64List(dims.start_index_map), dims.index_vector_dim,
      I64Array(node.attrs.Get<Dims>("slice_sizes")));
}

// Indices for the samples: rows 2, 0, 2 of an operand.
Tensor TestIndices() { return ConstantS32({3}, {2, 0, 2}); }

GatherDims WindowDims() {
  return {.offset_dims = {1, 2, 3}, .start_index_map = {0, 1}, .index_vector_dim = 1};
}

// For each of two batch elements four rows of an operand [2, 5, 3].
Tensor BatchIndices() { return ConstantS32({2, 4}, {0, 4, 2, 4, 3, 3, 1, 0}); }

GatherDims BatchDims() {
  return {.offset_dims = {2},
          .collapsed_slice_dims = {1},
          .operand_batching_dims = {0},
          .start_indices_batching_dims = {0},
          .start_index_map = {1},
          .index_vector_dim = 2};
}

constinit const OpDef kGather = Op({
    .name = "gather",
    .mlir = "stablehlo.gather",
    .shape = GatherShape,
    .vjp =
        [](VjpContext& c) {
          c.Add(0, Scatter(Full(c.InShape(0), 0), c.In(1), c.Grad(0), DimsOf(c.node().attrs),
                           ScatterMode::kAdd));
        },
    .attributes = GatherAttributes,
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "gather/take0",
               .inputs = {{DType::kF32, {4, 3}}},
               .call = [](In in) { return Out{Take(in[0], TestIndices(), 0)}; }},
              {.name = "gather/take1",
               .inputs = {{DType::kF32, {2, 4, 3}}},
               .call =
                   [](In in) {
                     return Out{Take(in[0], Reshape(TestIndices(), {3, 1}), 1)};
                   }},
              {.name = "gather/bf16",
               .inputs = {{DType::kBF16, {4, 3}}},
               .call = [](In in) { return Out{Take(in[0], TestIndices(), 0)}; }},
              // Windows of 2 by 2 whose corners are given.
              {.name = "gather/windows",
               .inputs = {{DType::kF32, {4, 5, 3}}},
               .call =
                   [](In in) {
                     return Out{Gather(in[0], ConstantS32({3, 2}, {0, 1, 2, 3, 2, 3}), WindowDims(),
                                       {2, 2, 3})};
                   }},
              {.name = "gather/batching",
               .inputs = {{DType::kF32, {2, 5, 3}}},
               .call =
                   [](In in) {
                     return Out{Gather(in[0], BatchIndices(), BatchDims(), {1, 1, 3})};
                   }},
              {.name = "gather/take_along_axis",
               .inputs = {{DType::kF32, {3, 5}}},
               .call = [](In in) {
                 return Out{TakeAlongAxis(in[0], Reshape(TestIndices(), {3, 1}), 1)};
               }}};
        },
});

// The sizes of the slice that each update replaces.
Dims WindowSizes(const Shape& operand, const Shape& updates, const GatherDims& dims) {
  Dims sizes(operand.dims.size(), 1);
  size_t next = 0;
  for (int64_t axis = 0; axis < operand.rank(); ++axis) {
    if (Contains(dims.collapsed_slice_dims, axis) || Contains(dims.operand_batching_dims, axis)) {
      continue;
    }
    sizes[static_cast<size_t>(axis)] = updates.dims[static_cast<size_t>(dims.offset_dims[next++])];
  }
  return sizes;
}

std::vector<Shape> ScatterShape(const ShapeArgs& args) {
  const GatherDims dims = DimsOf(args.attrs);
  CheckDims(args, dims);
  const Shape& updates = args.inputs[2];
  const Dims batch = BatchSizes(args.inputs[1], dims.index_vector_dim);
  if (updates.dtype != args.inputs[0].dtype ||
      updates.dims.size() != batch.size() + dims.offset_dims.size()) {
    args.Fail("expected updates of rank {} and the operand's type, got {} into {}",
              batch.size() + dims.offset_dims.size(), ToString(updates), ToString(args.inputs[0]));
  }
  Dims own_batch;
  for (int64_t axis = 0; axis < updates.rank(); ++axis) {
    if (!Contains(dims.offset_dims, axis)) {
      own_batch.push_back(updates.dims[static_cast<size_t>(axis)]);
    }
  }
  const Dims windows = WindowSizes(args.inputs[0], updates, dims);
  bool fits = own_batch == batch;
  for (size_t i = 0; i < windows.size(); ++i) {
    fits = fits && windows[i] <= args.inputs[0].dims[i];
  }
  if (!fits) {
    args.Fail("expected updates for indices {} within {}, got {}", ToString(args.inputs[1]),
              ToString(args.inputs[0]), ToString(updates));
  }
  return {args.inputs[0]};
}

void PrintScatter(const Node& node, RegionPrinter& printer) {
  const GatherDims dims = DimsOf(node.attrs);
  const bool add = static_cast<ScatterMode>(node.attrs.Get<int64_t>("mode")) == ScatterMode::kAdd;
  const std::string scalar = RegionPrinter::Type({node.results[0].dtype, {}});
  const std::string old_value = printer.FreshName();
  const std::string update = printer.FreshName();
  const std::string combined = add ? printer.FreshName() : update;
  const std::string body =
      add ? fmt::format("  {} = \"stablehlo.add\"({}, {}) : ({s}, {s}) -> {s}\n", combined,
                        old_value, update, fmt::arg("s", scalar))
          : "";
  printer.Line(fmt::format(
      "{} = \"stablehlo.scatter\"({}, {}, {}) ({{\n^bb0({}: {s}, {}: {s}):\n{}  "
      "\"stablehlo.return\"({}) : ({s}) -> ()\n}}) {{scatter_dimension_numbers = "
      "#stablehlo.scatter<update_window_dims = {}, inserted_window_dims = {}, input_batching_dims "
      "= {}, scatter_indices_batching_dims = {}, scatter_dims_to_operand_dims = {}, "
      "index_vector_dim = {}>, indices_are_sorted = false, unique_indices = {}}} : ({}, {}, {}) -> "
      "{}",
      printer.Define(node), printer.Ref(node.inputs[0]), printer.Ref(node.inputs[1]),
      printer.Ref(node.inputs[2]), old_value, update, body, combined, I64List(dims.offset_dims),
      I64List(dims.collapsed_slice_dims), I64List(dims.operand_batching_dims),
      I64List(dims.start_indices_batching_dims), I64List(dims.start_index_map),
      dims.index_vector_dim, add ? "false" : "true", RegionPrinter::Type(node.inputs[0].shape()),
      RegionPrinter::Type(node.inputs[1].shape()), RegionPrinter::Type(node.inputs[2].shape()),
      RegionPrinter::Type(node.results[0]), fmt::arg("s", scalar)));
}

GatherDims RowDims() {
  return {.offset_dims = {1},
          .collapsed_slice_dims = {0},
          .start_index_map = {0},
          .index_vector_dim = 1};
}

constinit const OpDef kScatter = Op({
    .name = "scatter",
    .shape = ScatterShape,
    .vjp =
        [](VjpContext& c) {
          const GatherDims dims = DimsOf(c.node().attrs);
          const bool add =
              static_cast<ScatterMode>(c.node().attrs.Get<int64_t>("mode")) == ScatterMode::kAdd;
          if (c.Wants(0)) {
            c.Add(0, add ? c.Grad(0)
                         : Scatter(c.Grad(0), c.In(1), Full(c.InShape(2), 0), dims,
                                   ScatterMode::kSet));
          }
          if (c.Wants(2)) {
            c.Add(2,
                  Gather(c.Grad(0), c.In(1), dims, WindowSizes(c.InShape(0), c.InShape(2), dims)));
          }
        },
    .print = PrintScatter,
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "scatter/add",
               .inputs = {{DType::kF32, {4, 3}}, {DType::kF32, {3, 3}}},
               .call =
                   [](In in) {
                     return Out{Scatter(in[0], TestIndices(), in[1], RowDims(), ScatterMode::kAdd)};
                   }},
              {.name = "scatter/add_windows",
               .inputs = {{DType::kF32, {4, 5, 3}}, {DType::kF32, {3, 2, 2, 3}}},
               .call =
                   [](In in) {
                     return Out{Scatter(in[0], ConstantS32({3, 2}, {0, 1, 2, 3, 1, 2}), in[1],
                                        WindowDims(), ScatterMode::kAdd)};
                   }},
              {.name = "scatter/add_batching",
               .inputs = {{DType::kF32, {2, 5, 3}}, {DType::kF32, {2, 4, 3}}},
               .call =
                   [](In in) {
                     return Out{
                         Scatter(in[0], BatchIndices(), in[1], BatchDims(), ScatterMode::kAdd)};
                   }},
              {.name = "scatter/add_s32",
               .inputs = {{DType::kS32, {4, 3}}, {DType::kS32, {3, 3}}},
               .call =
                   [](In in) {
                     return Out{Scatter(in[0], TestIndices(), in[1], RowDims(), ScatterMode::kAdd)};
                   }},
              {.name = "scatter/set",
               .inputs = {{DType::kF32, {4, 3}}, {DType::kF32, {2, 3}}},
               .call = [](In in) {
                 return Out{
                     Scatter(in[0], ConstantS32({2}, {3, 1}), in[1], RowDims(), ScatterMode::kSet)};
               }}};
        },
});

}  // namespace

Tensor Gather(const Tensor& operand, const Tensor& start_indices, const GatherDims& dims,
              const Dims& slice_sizes, Loc loc) {
  return Apply(kGather, {operand, start_indices}, AttrsOf(dims, "slice_sizes", slice_sizes), loc);
}

Tensor Scatter(const Tensor& operand, const Tensor& indices, const Tensor& updates,
               const GatherDims& dims, ScatterMode mode, Loc loc) {
  return Apply(kScatter, {operand, indices, updates},
               AttrsOf(dims, "mode", static_cast<int64_t>(mode)), loc);
}

Tensor Take(const Tensor& x, const Tensor& indices, int64_t axis, Loc loc) {
  const int64_t at = CheckedAxis(axis, x.rank(), "take", loc);
  GatherDims dims{
      .collapsed_slice_dims = {at}, .start_index_map = {at}, .index_vector_dim = indices.rank()};
  for (int64_t i = 0; i < x.rank() - 1; ++i) {
    dims.offset_dims.push_back(i < at ? i : i + indices.rank());
  }
  Dims sizes = x.dims();
  sizes[static_cast<size_t>(at)] = 1;
  return Gather(x, indices, dims, sizes, loc);
}

Tensor TakeAlongAxis(const Tensor& x, const Tensor& indices, int64_t axis, Loc loc) {
  const int64_t at = CheckedAxis(axis, x.rank(), "take_along_axis", loc);
  Dims expected = x.dims();
  if (indices.rank() == x.rank()) expected[static_cast<size_t>(at)] = indices.dim(at);
  if (indices.dims() != expected) {
    FailAt(loc, "take_along_axis: expected indices of sizes {}, got {}", ToString(expected),
           ToString(indices.shape()));
  }
  GatherDims dims{
      .collapsed_slice_dims = {at}, .start_index_map = {at}, .index_vector_dim = indices.rank()};
  for (int64_t i = 0; i < x.rank(); ++i) {
    if (i == at) continue;
    dims.operand_batching_dims.push_back(i);
    dims.start_indices_batching_dims.push_back(i);
  }
  return Gather(x, indices, dims, Dims(x.dims().size(), 1), loc);
}

namespace ops {

std::vector<const OpDef*> GatherOps() { return {&kGather, &kScatter}; }

}  // namespace ops
}  // namespace sophia
