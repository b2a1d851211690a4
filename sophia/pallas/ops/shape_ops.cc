// Kernel ops that move elements.
#include "sophia/graph/ops/shape_ops.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/pallas/ops/op_util.h"

namespace sophia::pallas {
namespace {

const Dims& ResultDims(const Instr& instr) { return instr.attrs.Get<Dims>("dims"); }
int64_t AxisOf(const Instr& instr) { return instr.attrs.Get<int64_t>("axis"); }

std::vector<Shape> TypeOfDims(const Instr& instr) {
  return {{instr.inputs[0].dtype(), ResultDims(instr)}};
}

constinit const KernelOp kBroadcast = Op({
    .name = "broadcast",
    .mosaic = {"vector.broadcast", "vector.broadcast", "vector.broadcast", "vector.broadcast"},
    .type = [](const Instr& instr) -> std::vector<Shape> {
      const Shape& x = instr.inputs[0].shape();
      if (sophia::BroadcastDims(x.dims, ResultDims(instr), "broadcast", instr.loc) !=
          ResultDims(instr)) {
        FailIn(instr, "expected {} to stretch to {}", ToString(x), ToString(ResultDims(instr)));
      }
      return TypeOfDims(instr);
    },
    .interpret =
        [](const Instr& instr, Interpreter& in) {
          return std::vector{sophia::BroadcastTo(in.In(instr, 0), ResultDims(instr), instr.loc)};
        },
});

constinit const KernelOp kReshape = Op({
    .name = "reshape",
    .mosaic = {"vector.shape_cast", "vector.shape_cast", "vector.shape_cast", "vector.shape_cast"},
    .type = [](const Instr& instr) -> std::vector<Shape> {
      const Shape& x = instr.inputs[0].shape();
      if (x.elements() != Product(ResultDims(instr)) || x.dims.empty() ||
          ResultDims(instr).empty()) {
        FailIn(instr, "expected vectors of equally many elements, got {} and {}", ToString(x),
               ToString(ResultDims(instr)));
      }
      return TypeOfDims(instr);
    },
    .interpret =
        [](const Instr& instr, Interpreter& in) {
          return std::vector{sophia::Reshape(in.In(instr, 0), ResultDims(instr), instr.loc)};
        },
    .lacks = [](const Instr& instr, const ChipInfo& chip) -> std::string {
      const Dims& from = instr.inputs[0].dims();
      const Dims& to = ResultDims(instr);
      const bool from_column = from.size() > 1 && from.back() == 1 && from[from.size() - 2] > 1;
      const bool turns = from_column && to.back() > 1;
      return turns && !chip.lanes_to_rows
                 ? "expected a shape that keeps the column, got one that turns it into a row; "
                   "broadcast to 128 lanes, Transpose and Slice instead"
                 : "";
    },
});

constinit const KernelOp kTranspose = Op({
    .name = "transpose",
    .mosaic = {"tpu.transpose", "tpu.transpose", "tpu.transpose", "tpu.transpose"},
    .attributes =
        [](const Instr& instr) {
          return "permutation = " + I64Array(instr.attrs.Get<Dims>("permutation"));
        },
    .type = [](const Instr& instr) -> std::vector<Shape> {
      const Shape& x = instr.inputs[0].shape();
      const Dims& permutation = instr.attrs.Get<Dims>("permutation");
      Dims sorted = permutation;
      std::sort(sorted.begin(), sorted.end());
      Dims axes(x.dims.size());
      std::iota(axes.begin(), axes.end(), 0);
      if (sorted != axes) {
        FailIn(instr, "expected a permutation of the {} dimensions of {}, got {}", x.rank(),
               ToString(x), ToString(permutation));
      }
      Dims dims;
      for (const int64_t axis : permutation) dims.push_back(x.dims[static_cast<size_t>(axis)]);
      return {{x.dtype, dims}};
    },
    .interpret =
        [](const Instr& instr, Interpreter& in) {
          return std::vector{
              sophia::Transpose(in.In(instr, 0), instr.attrs.Get<Dims>("permutation"), instr.loc)};
        },
});

constinit const KernelOp kConcatenate = Op({
    .name = "concatenate",
    .mosaic = {"tpu.concatenate", "tpu.concatenate", "tpu.concatenate", "tpu.concatenate"},
    .attributes =
        [](const Instr& instr) { return fmt::format("dimension = {} : i32", AxisOf(instr)); },
    .type = [](const Instr& instr) -> std::vector<Shape> {
      Shape result = instr.inputs[0].shape();
      const auto axis = static_cast<size_t>(AxisOf(instr));
      for (size_t i = 1; i < instr.inputs.size(); ++i) {
        Shape part = instr.inputs[i].shape();
        if (part.rank() == result.rank()) {
          result.dims[axis] += part.dims[axis];
          part.dims[axis] = result.dims[axis];
        }
        if (part != result) {
          FailIn(instr, "expected parts that differ along dimension {} only, got {} and {}", axis,
                 ToString(instr.inputs[0].shape()), ToString(instr.inputs[i].shape()));
        }
      }
      return {result};
    },
    .interpret =
        [](const Instr& instr, Interpreter& in) {
          std::vector<Tensor> parts;
          for (const Val& input : instr.inputs) parts.push_back(in.Get(input));
          return std::vector{sophia::Concatenate(parts, AxisOf(instr), instr.loc)};
        },
});

constinit const KernelOp kSlice = Op({
    .name = "slice",
    .mosaic = {"vector.extract_strided_slice", "vector.extract_strided_slice",
               "vector.extract_strided_slice", "vector.extract_strided_slice"},
    .attributes =
        [](const Instr& instr) {
          const Dims& start = instr.attrs.Get<Dims>("start");
          return fmt::format("offsets = {}, sizes = {}, strides = {}", I64List(start),
                             I64List(instr.results[0].dims), I64List(Dims(start.size(), 1)));
        },
    .type = [](const Instr& instr) -> std::vector<Shape> {
      const Shape& x = instr.inputs[0].shape();
      const Dims& start = instr.attrs.Get<Dims>("start");
      const Dims& limit = instr.attrs.Get<Dims>("limit");
      bool fits = start.size() == x.dims.size() && limit.size() == x.dims.size();
      Dims dims;
      for (size_t i = 0; fits && i < start.size(); ++i) {
        fits = 0 <= start[i] && start[i] < limit[i] && limit[i] <= x.dims[i];
        dims.push_back(limit[i] - start[i]);
      }
      if (!fits) {
        FailIn(instr, "expected a part of {}, got [{}] to [{}]", ToString(x),
               fmt::join(start, ", "), fmt::join(limit, ", "));
      }
      return {{x.dtype, dims}};
    },
    .interpret =
        [](const Instr& instr, Interpreter& in) {
          return std::vector{sophia::Slice(in.In(instr, 0), instr.attrs.Get<Dims>("start"),
                                           instr.attrs.Get<Dims>("limit"), {}, instr.loc)};
        },
});

constinit const KernelOp kRoll = Op({
    .name = "roll",
    .mosaic = {"tpu.dynamic_rotate", "tpu.dynamic_rotate", "tpu.dynamic_rotate"},
    .attributes =
        [](const Instr& instr) { return fmt::format("dimension = {} : si32", AxisOf(instr)); },
    .type = [](const Instr& instr) -> std::vector<Shape> {
      CheckElements(instr, instr.inputs[0].dtype());
      return {instr.inputs[0].shape()};
    },
    .interpret =
        [](const Instr& instr, Interpreter& in) {
          const Tensor& x = in.In(instr, 0);
          const int64_t axis = AxisOf(instr);
          const auto size = static_cast<double>(x.dim(axis));
          // The part that starts at -amount, modulo the size, of two copies.
          const Tensor start = sophia::Rem(size - sophia::Rem(in.In(instr, 1), size), size);
          std::vector<Tensor> starts(x.dims().size(), sophia::Scalar(DType::kS32, 0));
          starts[static_cast<size_t>(axis)] = start;
          return std::vector{sophia::DynamicSlice(sophia::Concatenate({x, x}, axis, instr.loc),
                                                  starts, x.dims(), instr.loc)};
        },
    .int_bits = 16,
});

constinit const KernelOp kTakeAlongAxis = Op({
    .name = "take_along_axis",
    .mosaic = {"tpu.dynamic_gather", "tpu.dynamic_gather", "tpu.dynamic_gather"},
    .attributes =
        [](const Instr& instr) {
          return fmt::format("dimensions = array<i32: {}>", AxisOf(instr));
        },
    .type = [](const Instr& instr) -> std::vector<Shape> {
      const Shape& x = instr.inputs[0].shape();
      const Shape& indices = instr.inputs[1].shape();
      const int64_t axis = AxisOf(instr);
      const int64_t tile = axis == 0 ? 8 : 128;
      if (x.rank() != 2 || Info(x.dtype).bits != 32 || indices.dtype != DType::kS32 ||
          indices.rank() != 2 ||
          indices.dims[1 - static_cast<size_t>(axis)] != x.dims[1 - static_cast<size_t>(axis)] ||
          x.dims[static_cast<size_t>(axis)] != tile) {
        FailIn(instr,
               "expected a 32-bit matrix of {} along dimension {} and s32 indices that differ "
               "along it only, got {} and {}",
               tile, axis, ToString(x), ToString(indices));
      }
      return {{x.dtype, indices.dims}};
    },
    .interpret =
        [](const Instr& instr, Interpreter& in) {
          return std::vector{
              sophia::TakeAlongAxis(in.In(instr, 0), in.In(instr, 1), AxisOf(instr), instr.loc)};
        },
    .lacks = [](const Instr& instr, const ChipInfo& chip) -> std::string {
      if (AxisOf(instr) == 0 ? chip.sublane_gather : chip.lane_gather) return "";
      return AxisOf(instr) == 0 ? "expected v5e or later for a gather over rows"
                                : "expected v4 or later for a gather over lanes; use selects";
    },
});

}  // namespace

Val BroadcastTo(const Val& x, const Dims& dims, Loc loc) {
  return x.dims() == dims ? x : Apply(kBroadcast, {x}, {{"dims", dims}}, loc);
}

Val Reshape(const Val& x, const Dims& dims, Loc loc) {
  return x.dims() == dims ? x : Apply(kReshape, {x}, {{"dims", dims}}, loc);
}

Val Transpose(const Val& x, const Dims& permutation, Loc loc) {
  return Apply(kTranspose, {x}, {{"permutation", permutation}}, loc);
}

Val Transpose(const Val& x, Loc loc) {
  Dims permutation(x.dims().size());
  std::iota(permutation.begin(), permutation.end(), 0);
  if (permutation.size() > 1) std::swap(permutation.end()[-1], permutation.end()[-2]);
  return Transpose(x, permutation, loc);
}

Val Concatenate(const std::vector<Val>& parts, int64_t axis, Loc loc) {
  if (parts.empty()) FailKernel(loc, "concatenate: expected at least one part, got none");
  if (parts.size() == 1) return parts[0];
  return Apply(kConcatenate, parts,
               {{"axis", CheckedAxis(axis, parts[0].rank(), "concatenate", loc)}}, loc);
}

Val Slice(const Val& x, const Dims& start, const Dims& limit, Loc loc) {
  return Apply(kSlice, {x}, {{"start", start}, {"limit", limit}}, loc);
}

Val SliceAxis(const Val& x, int64_t axis, int64_t start, int64_t limit, Loc loc) {
  const auto index = static_cast<size_t>(CheckedAxis(axis, x.rank(), "slice", loc));
  Dims starts(x.dims().size(), 0);
  Dims limits = x.dims();
  starts[index] = start;
  limits[index] = limit;
  return Slice(x, starts, limits, loc);
}

Val Roll(const Val& x, Arg amount, int64_t axis) {
  return Apply(kRoll, {x, AsIndex(amount, "an amount to roll by")},
               {{"axis", CheckedAxis(axis, x.rank(), "roll", amount.loc())}}, amount.loc());
}

Val TakeAlongAxis(const Val& x, const Val& indices, int64_t axis, Loc loc) {
  return Apply(kTakeAlongAxis, {x, indices},
               {{"axis", CheckedAxis(axis, x.rank(), "take_along_axis", loc)}}, loc);
}

std::vector<const KernelOp*> ShapeOps() {
  return {&kBroadcast, &kReshape, &kTranspose, &kConcatenate, &kSlice, &kRoll, &kTakeAlongAxis};
}

}  // namespace sophia::pallas
