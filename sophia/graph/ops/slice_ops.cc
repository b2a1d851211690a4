#include "sophia/graph/ops/slice_ops.h"

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/op_lists.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia {
namespace {

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;

constinit const OpDef kSlice = Op({
    .name = "slice",
    .mlir = "stablehlo.slice",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      const Shape& in = args.inputs[0];
      const Dims& start = args.attrs.Get<Dims>("start");
      const Dims& limit = args.attrs.Get<Dims>("limit");
      const Dims& strides = args.attrs.Get<Dims>("strides");
      bool fits = start.size() == in.dims.size() && limit.size() == in.dims.size() &&
                  strides.size() == in.dims.size();
      Dims dims;
      for (size_t i = 0; fits && i < in.dims.size(); ++i) {
        fits = start[i] >= 0 && start[i] <= limit[i] && limit[i] <= in.dims[i] && strides[i] > 0;
        if (fits) dims.push_back((limit[i] - start[i] + strides[i] - 1) / strides[i]);
      }
      if (!fits) {
        args.Fail("expected bounds within {}, got {} to {} by {}", ToString(in), ToString(start),
                  ToString(limit), ToString(strides));
      }
      return {{in.dtype, dims}};
    },
    // Puts the cotangent back among zeros.
    .vjp =
        [](VjpContext& c) {
          const Attrs& attrs = c.node().attrs;
          const Dims& start = attrs.Get<Dims>("start");
          const Dims& strides = attrs.Get<Dims>("strides");
          const Dims& in = c.InShape(0).dims;
          const Dims& out = c.node().results[0].dims;
          Dims high(in.size());
          Dims interior(in.size());
          for (size_t i = 0; i < in.size(); ++i) {
            const int64_t reach = out[i] == 0 ? 0 : (out[i] - 1) * strides[i] + 1;
            high[i] = in[i] - start[i] - reach;
            interior[i] = strides[i] - 1;
          }
          c.Add(0, Pad(c.Grad(0), Scalar(c.Grad(0).dtype(), 0), start, high, interior));
        },
    .attributes =
        [](const Node& node) {
          return fmt::format("start_indices = {}, limit_indices = {}, strides = {}",
                             I64Array(node.attrs.Get<Dims>("start")),
                             I64Array(node.attrs.Get<Dims>("limit")),
                             I64Array(node.attrs.Get<Dims>("strides")));
        },
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "slice",
               .inputs = {{DType::kF32, {4, 7}}},
               .call =
                   [](In in) {
                     return Out{Slice(in[0], {1, 0}, {3, 6}, {1, 2})};
                   }},
              {.name = "slice/axis", .inputs = {{DType::kF32, {4, 7}}}, .call = [](In in) {
                 return Out{SliceAxis(in[0], -1, 2, 5)};
               }}};
        },
});

void CheckStarts(const ShapeArgs& args, size_t first, size_t rank) {
  for (size_t i = first; i < args.inputs.size(); ++i) {
    if (args.inputs[i].rank() != 0 || !IsInteger(args.inputs[i].dtype)) {
      args.Fail("expected integer scalars as starts, got {}", ToString(args.inputs[i]));
    }
  }
  if (args.inputs.size() - first != rank) {
    args.Fail("expected {} starts, got {}", rank, args.inputs.size() - first);
  }
}

std::vector<Tensor> StartsOf(VjpContext& c, int first) {
  std::vector<Tensor> starts;
  for (int i = first; i < static_cast<int>(c.node().inputs.size()); ++i) starts.push_back(c.In(i));
  return starts;
}

std::vector<Tensor> TestStarts(int a, int b) {
  return {Scalar(DType::kS32, a), Scalar(DType::kS32, b)};
}

constinit const OpDef kDynamicSlice = Op({
    .name = "dynamic_slice",
    .mlir = "stablehlo.dynamic_slice",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      const Shape& in = args.inputs[0];
      const Dims& sizes = args.attrs.Get<Dims>("sizes");
      CheckStarts(args, 1, in.dims.size());
      bool fits = sizes.size() == in.dims.size();
      for (size_t i = 0; fits && i < sizes.size(); ++i) {
        fits = sizes[i] >= 0 && sizes[i] <= in.dims[i];
      }
      if (!fits) args.Fail("expected sizes within {}, got {}", ToString(in), ToString(sizes));
      return {{in.dtype, sizes}};
    },
    .vjp =
        [](VjpContext& c) {
          const Tensor zeros = Full(c.InShape(0), 0);
          c.Add(0, DynamicUpdateSlice(zeros, c.Grad(0), StartsOf(c, 1)));
        },
    .attributes =
        [](const Node& node) { return "slice_sizes = " + I64Array(node.attrs.Get<Dims>("sizes")); },
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "dynamic_slice",
               .inputs = {{DType::kF32, {4, 7}}},
               .call =
                   [](In in) {
                     return Out{DynamicSlice(in[0], TestStarts(1, 3), {2, 3})};
                   }},
              {.name = "dynamic_slice/clamped",
               .inputs = {{DType::kF32, {4, 7}}},
               .call = [](In in) {
                 return Out{DynamicSlice(in[0], TestStarts(3, -2), {2, 3})};
               }}};
        },
});

constinit const OpDef kDynamicUpdateSlice = Op({
    .name = "dynamic_update_slice",
    .mlir = "stablehlo.dynamic_update_slice",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      const Shape& in = args.inputs[0];
      const Shape& update = args.inputs[1];
      CheckStarts(args, 2, in.dims.size());
      bool fits = update.dtype == in.dtype && update.rank() == in.rank();
      for (size_t i = 0; fits && i < in.dims.size(); ++i) fits = update.dims[i] <= in.dims[i];
      if (!fits) args.Fail("expected an update within {}, got {}", ToString(in), ToString(update));
      return {in};
    },
    .vjp =
        [](VjpContext& c) {
          const std::vector<Tensor> starts = StartsOf(c, 2);
          if (c.Wants(0)) {
            c.Add(0, DynamicUpdateSlice(c.Grad(0), Full(c.InShape(1), 0), starts));
          }
          if (c.Wants(1)) c.Add(1, DynamicSlice(c.Grad(0), starts, c.InShape(1).dims));
        },
    .samples =
        [] {
          const auto call = [](int32_t row, int32_t column) {
            return [=](In in) {
              return Out{DynamicUpdateSlice(in[0], in[1], TestStarts(row, column))};
            };
          };
          const auto inputs = [](DType dtype) {
            return std::vector<Shape>{{dtype, {4, 7}}, {dtype, {2, 3}}};
          };
          return std::vector<OpSample>{
              {"dynamic_update_slice", inputs(DType::kF32), call(1, 3)},
              {"dynamic_update_slice/clamped", inputs(DType::kF32), call(-1, 6)},
              {"dynamic_update_slice/bf16", inputs(DType::kBF16), call(2, 0)},
              {"dynamic_update_slice/s32", inputs(DType::kS32), call(0, 4)}};
        },
});

}  // namespace

Tensor Slice(const Tensor& x, const Dims& start, const Dims& limit, const Dims& strides, Loc loc) {
  const Dims steps = strides.empty() ? Dims(start.size(), 1) : strides;
  return Apply(kSlice, {x}, {{"start", start}, {"limit", limit}, {"strides", steps}}, loc);
}

Tensor SliceAxis(const Tensor& x, int64_t axis, int64_t start, int64_t limit, Loc loc) {
  const auto at = static_cast<size_t>(CheckedAxis(axis, x.rank(), "slice", loc));
  Dims starts(x.dims().size(), 0);
  Dims limits = x.dims();
  starts[at] = start;
  limits[at] = limit;
  return Slice(x, starts, limits, {}, loc);
}

Tensor DynamicSlice(const Tensor& x, const std::vector<Tensor>& starts, const Dims& sizes,
                    Loc loc) {
  std::vector<Tensor> inputs = {x};
  inputs.insert(inputs.end(), starts.begin(), starts.end());
  return Apply(kDynamicSlice, std::move(inputs), {{"sizes", sizes}}, loc);
}

Tensor DynamicUpdateSlice(const Tensor& x, const Tensor& update, const std::vector<Tensor>& starts,
                          Loc loc) {
  std::vector<Tensor> inputs = {x, update};
  inputs.insert(inputs.end(), starts.begin(), starts.end());
  return Apply(kDynamicUpdateSlice, std::move(inputs), {}, loc);
}

Tensor TakePart(const Tensor& x, int64_t axis, const EqualPart& part, Loc loc) {
  if (part.count == 1) return x;
  const size_t at = static_cast<size_t>(axis < 0 ? axis + x.rank() : axis);
  Dims sizes = x.dims();
  SOPHIA_CHECK(sizes[at] % part.count == 0, "{} in {} equal parts", sizes[at], part.count);
  sizes[at] /= part.count;
  std::vector<Tensor> starts(sizes.size(), Scalar(part.index.dtype(), 0));
  starts[at] = part.index * static_cast<double>(sizes[at]);
  return DynamicSlice(x, starts, sizes, loc);
}

namespace ops {

std::vector<const OpDef*> SliceOps() { return {&kSlice, &kDynamicSlice, &kDynamicUpdateSlice}; }

}  // namespace ops

}  // namespace sophia
