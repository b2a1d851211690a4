// Ops that change the arrangement of elements.
#include "sophia/graph/ops/shape_ops.h"

#include <algorithm>
#include <numeric>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/op_lists.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/slice_ops.h"

namespace sophia {
namespace {

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;

constinit const OpDef kBroadcastInDim = Op({
    .name = "broadcast_in_dim",
    .mlir = "stablehlo.broadcast_in_dim",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      const Dims& dims = args.attrs.Get<Dims>("dims");
      const Dims& map = args.attrs.Get<Dims>("map");
      const Shape& in = args.inputs[0];
      bool fits = map.size() == in.dims.size() && std::is_sorted(map.begin(), map.end());
      for (size_t i = 0; fits && i < map.size(); ++i) {
        fits = map[i] >= 0 && map[i] < static_cast<int64_t>(dims.size()) &&
               (i == 0 || map[i] != map[i - 1]) &&
               (in.dims[i] == 1 || in.dims[i] == dims[static_cast<size_t>(map[i])]);
      }
      if (!fits) {
        args.Fail("expected {} to fit into {} by dimensions {}", ToString(in), ToString(dims),
                  ToString(map));
      }
      return {{in.dtype, dims}};
    },
    // Sums over what was stretched.
    .vjp =
        [](VjpContext& c) {
          const Dims& map = c.node().attrs.Get<Dims>("map");
          const Dims& in = c.InShape(0).dims;
          const Tensor grad = c.Grad(0);
          Dims stretched;
          for (int64_t axis = 0; axis < grad.rank(); ++axis) {
            const auto at = std::find(map.begin(), map.end(), axis);
            const bool kept =
                at != map.end() && in[static_cast<size_t>(at - map.begin())] == grad.dim(axis);
            if (!kept) stretched.push_back(axis);
          }
          c.Add(0, Reshape(Sum(grad, stretched), in));
        },
    .attributes =
        [](const Node& node) {
          return "broadcast_dimensions = " + I64Array(node.attrs.Get<Dims>("map"));
        },
    .cheap = true,
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "broadcast_in_dim",
               .inputs = {{DType::kF32, {3, 1}}},
               .call =
                   [](In in) {
                     return Out{BroadcastInDim(in[0], {2, 3, 4}, {1, 2})};
                   }},
              {.name = "broadcast_in_dim/bf16",
               .inputs = {{DType::kBF16, {1, 3}}},
               .call =
                   [](In in) {
                     return Out{BroadcastTo(in[0], {2, 4, 3})};
                   }},
              {.name = "broadcast_in_dim/scalar", .inputs = {{DType::kF32, {}}}, .call = [](In in) {
                 return Out{BroadcastTo(in[0], {2, 3})};
               }}};
        },
});

constinit const OpDef kReshape = Op({
    .name = "reshape",
    .mlir = "stablehlo.reshape",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      const Dims& dims = args.attrs.Get<Dims>("dims");
      if (Product(dims) != args.inputs[0].elements()) {
        args.Fail("expected sizes with {} elements, got {} for {}", args.inputs[0].elements(),
                  ToString(dims), ToString(args.inputs[0]));
      }
      return {{args.inputs[0].dtype, dims}};
    },
    .vjp = [](VjpContext& c) { c.Add(0, Reshape(c.Grad(0), c.InShape(0).dims)); },
    .cheap = true,
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "reshape", .inputs = {{DType::kF32, {2, 6}}}, .call = [](In in) {
                 return Out{Reshape(in[0], {3, -1})};
               }}};
        },
});

constinit const OpDef kTranspose = Op({
    .name = "transpose",
    .mlir = "stablehlo.transpose",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      const Dims& permutation = args.attrs.Get<Dims>("permutation");
      Dims sorted = permutation;
      std::sort(sorted.begin(), sorted.end());
      Dims identity(args.inputs[0].dims.size());
      std::iota(identity.begin(), identity.end(), 0);
      if (sorted != identity) {
        args.Fail("expected a permutation of {} dimensions, got {}", identity.size(),
                  ToString(permutation));
      }
      Dims dims;
      for (const int64_t axis : permutation) {
        dims.push_back(args.inputs[0].dims[static_cast<size_t>(axis)]);
      }
      return {{args.inputs[0].dtype, dims}};
    },
    .vjp =
        [](VjpContext& c) {
          const Dims& permutation = c.node().attrs.Get<Dims>("permutation");
          Dims inverse(permutation.size());
          for (size_t i = 0; i < permutation.size(); ++i) {
            inverse[static_cast<size_t>(permutation[i])] = static_cast<int64_t>(i);
          }
          c.Add(0, Transpose(c.Grad(0), inverse));
        },
    .attributes =
        [](const Node& node) {
          return "permutation = " + I64Array(node.attrs.Get<Dims>("permutation"));
        },
    .cheap = true,
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "transpose", .inputs = {{DType::kF32, {2, 3, 4}}}, .call = [](In in) {
                 return Out{Transpose(in[0], {2, 0, 1})};
               }}};
        },
});

constinit const OpDef kReverse = Op({
    .name = "reverse",
    .mlir = "stablehlo.reverse",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> { return {args.inputs[0]}; },
    .vjp = [](VjpContext& c) { c.Add(0, Reverse(c.Grad(0), c.node().attrs.Get<Dims>("axes"))); },
    .attributes =
        [](const Node& node) { return "dimensions = " + I64Array(node.attrs.Get<Dims>("axes")); },
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "reverse", .inputs = {{DType::kF32, {2, 3, 4}}}, .call = [](In in) {
                 return Out{Reverse(in[0], {0, -1})};
               }}};
        },
});

constinit const OpDef kConcatenate = Op({
    .name = "concatenate",
    .mlir = "stablehlo.concatenate",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      const auto axis = static_cast<size_t>(args.attrs.Get<int64_t>("axis"));
      Shape shape = args.inputs[0];
      for (size_t i = 1; i < args.inputs.size(); ++i) {
        Shape expected = args.inputs[i];
        if (expected.dims.size() == shape.dims.size()) expected.dims[axis] = shape.dims[axis];
        if (expected != shape) {
          args.Fail("expected parts that differ in dimension {} only, got {} and {}", axis,
                    ToString(args.inputs[0]), ToString(args.inputs[i]));
        }
        shape.dims[axis] += args.inputs[i].dims[axis];
      }
      return {shape};
    },
    .vjp =
        [](VjpContext& c) {
          const auto axis = static_cast<size_t>(c.node().attrs.Get<int64_t>("axis"));
          Dims start(c.node().results[0].dims.size(), 0);
          for (int i = 0; i < static_cast<int>(c.node().inputs.size()); ++i) {
            Dims limit = c.node().results[0].dims;
            limit[axis] = start[axis] + c.InShape(i).dims[axis];
            if (c.Wants(i)) c.Add(i, Slice(c.Grad(0), start, limit));
            start[axis] = limit[axis];
          }
        },
    .attributes =
        [](const Node& node) {
          return fmt::format("dimension = {} : i64", node.attrs.Get<int64_t>("axis"));
        },
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "concatenate",
               .inputs = {{DType::kF32, {2, 3}}, {DType::kF32, {2, 1}}, {DType::kF32, {2, 2}}},
               .call =
                   [](In in) {
                     return Out{Concatenate({in[0], in[1], in[2]}, -1)};
                   }},
              {.name = "concatenate/s32",
               .inputs = {{DType::kS32, {1, 3}}, {DType::kS32, {2, 3}}},
               .call = [](In in) {
                 return Out{Concatenate({in[0], in[1], in[0]}, 0)};
               }}};
        },
});

constinit const OpDef kPad = Op({
    .name = "pad",
    .mlir = "stablehlo.pad",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      Shape shape = args.inputs[0];
      const Dims& low = args.attrs.Get<Dims>("low");
      const Dims& high = args.attrs.Get<Dims>("high");
      const Dims& interior = args.attrs.Get<Dims>("interior");
      const size_t rank = shape.dims.size();
      if (low.size() != rank || high.size() != rank || interior.size() != rank ||
          args.inputs[1] != Shape{shape.dtype, {}}) {
        args.Fail("expected a scalar of type {} and {} sizes each for low, high and interior",
                  Name(shape.dtype), rank);
      }
      for (size_t i = 0; i < rank; ++i) {
        const int64_t spread =
            shape.dims[i] == 0 ? 0 : shape.dims[i] + (shape.dims[i] - 1) * interior[i];
        shape.dims[i] = low[i] + spread + high[i];
        if (shape.dims[i] < 0) args.Fail("expected sizes of at least 0, got {}", shape.dims[i]);
      }
      return {shape};
    },
    .vjp =
        [](VjpContext& c) {
          const Attrs& attrs = c.node().attrs;
          const Dims& interior = attrs.Get<Dims>("interior");
          Dims low = attrs.Get<Dims>("low");
          Dims high = attrs.Get<Dims>("high");
          for (int64_t& size : low) size = -size;
          for (int64_t& size : high) size = -size;
          const Tensor zero = Scalar(c.Grad(0).dtype(), 0);
          const Tensor cut = Pad(c.Grad(0), zero, low, high, Dims(low.size(), 0));
          Dims strides = interior;
          for (int64_t& stride : strides) stride += 1;
          const Tensor grad = Slice(cut, Dims(low.size(), 0), cut.dims(), strides);
          if (c.Wants(0)) c.Add(0, grad);
          if (c.Wants(1)) c.Add(1, Sum(c.Grad(0)) - Sum(grad));
        },
    .attributes =
        [](const Node& node) {
          return fmt::format("edge_padding_low = {}, edge_padding_high = {}, interior_padding = {}",
                             I64Array(node.attrs.Get<Dims>("low")),
                             I64Array(node.attrs.Get<Dims>("high")),
                             I64Array(node.attrs.Get<Dims>("interior")));
        },
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "pad",
               .inputs = {{DType::kF32, {2, 3}}, {DType::kF32, {}}},
               .call =
                   [](In in) {
                     return Out{Pad(in[0], in[1], {1, 0}, {0, 2}, {0, 1})};
                   }},
              {.name = "pad/interior_negative",
               .inputs = {{DType::kF32, {4, 5}}, {DType::kF32, {}}},
               .call =
                   [](In in) {
                     return Out{Pad(in[0], in[1], {-2, 2}, {1, -3}, {1, 2})};
                   }},
              {.name = "pad/u8",
               .inputs = {{DType::kU8, {3}}},
               .call = [](In in) { return Out{Pad(in[0], Scalar(DType::kU8, 9), {1}, {2}, {1})}; },
               .low = 0,
               .high = 9},
              {.name = "pad/negative", .inputs = {{DType::kF32, {4, 5}}}, .call = [](In in) {
                 return Out{Pad(in[0], Scalar(in[0].dtype(), 0), {-1, 2}, {1, -2}, {0, 0})};
               }}};
        },
});

}  // namespace

Tensor BroadcastInDim(const Tensor& x, const Dims& dims, const Dims& map, Loc loc) {
  return Apply(kBroadcastInDim, {x}, {{"dims", dims}, {"map", map}}, loc);
}

Tensor BroadcastTo(const Tensor& x, const Dims& dims, Loc loc) {
  if (x.dims() == dims) return x;
  const auto missing = static_cast<int64_t>(dims.size()) - x.rank();
  Dims map(x.dims().size());
  std::iota(map.begin(), map.end(), missing);
  return BroadcastInDim(x, dims, map, loc);
}

Dims BroadcastDims(const Dims& a, const Dims& b, std::string_view op, Loc loc) {
  const size_t rank = std::max(a.size(), b.size());
  Dims dims(rank, 1);
  for (const Dims* operand : {&a, &b}) {
    for (size_t i = 0; i < operand->size(); ++i) {
      int64_t& size = dims[rank - operand->size() + i];
      const int64_t own = (*operand)[i];
      if (own != 1 && size != 1 && own != size) {
        FailAt(loc, "{}: expected sizes that broadcast, got {} and {}", op, ToString(a),
               ToString(b));
      }
      if (own != 1) size = own;
    }
  }
  return dims;
}

Tensor Reshape(const Tensor& x, const Dims& dims, Loc loc) {
  Dims sizes = dims;
  const auto open = std::find(sizes.begin(), sizes.end(), -1);
  if (open != sizes.end()) {
    const int64_t others = -Product(sizes);
    if (others <= 0 || x.shape().elements() % others != 0) {
      FailAt(loc, "reshape: expected sizes that divide {}, got {}", ToString(x.shape()),
             ToString(dims));
    }
    *open = x.shape().elements() / others;
  }
  return sizes == x.dims() ? x : Apply(kReshape, {x}, {{"dims", sizes}}, loc);
}

Tensor Transpose(const Tensor& x, const Dims& permutation, Loc loc) {
  return Apply(kTranspose, {x}, {{"permutation", permutation}}, loc);
}

Tensor ExpandDims(const Tensor& x, int64_t axis, Loc loc) {
  const int64_t at = CheckedAxis(axis, x.rank() + 1, "expand_dims", loc);
  Dims dims = x.dims();
  dims.insert(dims.begin() + at, 1);
  return Reshape(x, dims, loc);
}

Tensor Squeeze(const Tensor& x, int64_t axis, Loc loc) {
  const int64_t at = CheckedAxis(axis, x.rank(), "squeeze", loc);
  if (x.dim(at) != 1) FailAt(loc, "squeeze: expected size 1 at axis {}, got {}", at, x.dim(at));
  Dims dims = x.dims();
  dims.erase(dims.begin() + at);
  return Reshape(x, dims, loc);
}

Tensor Reverse(const Tensor& x, const Dims& axes, Loc loc) {
  Dims checked;
  for (const int64_t axis : axes) checked.push_back(CheckedAxis(axis, x.rank(), "reverse", loc));
  return Apply(kReverse, {x}, {{"axes", checked}}, loc);
}

Tensor Concatenate(const std::vector<Tensor>& parts, int64_t axis, Loc loc) {
  if (parts.empty()) FailAt(loc, "concatenate: expected at least one part, got none");
  if (parts.size() == 1) return parts[0];
  const int64_t at = CheckedAxis(axis, parts[0].rank(), "concatenate", loc);
  return Apply(kConcatenate, parts, {{"axis", at}}, loc);
}

Tensor Pad(const Tensor& x, const Tensor& value, const Dims& low, const Dims& high,
           const Dims& interior, Loc loc) {
  return Apply(kPad, {x, value}, {{"low", low}, {"high", high}, {"interior", interior}}, loc);
}

Tensor PadEnd(const Tensor& x, int64_t axis, int64_t size, double value, Loc loc) {
  if (x.dim(axis) == size) return x;
  const Dims none(x.dims().size(), 0);
  Dims high = none;
  high[static_cast<size_t>(axis)] = size - x.dim(axis);
  return Pad(x, Scalar(x.dtype(), value), none, high, none, loc);
}

namespace ops {

std::vector<const OpDef*> ShapeOps() {
  return {&kBroadcastInDim, &kReshape, &kTranspose, &kReverse, &kConcatenate, &kPad};
}

}  // namespace ops
}  // namespace sophia
