// Kernel ops that contract dimensions: reductions and matrix products.
#include "sophia/graph/ops/reduce_ops.h"

#include <algorithm>
#include <limits>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/pallas/ops/op_util.h"

namespace sophia::pallas {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLeastS32 = std::numeric_limits<int32_t>::min();

const Dims& AxesOf(const Instr& instr) { return instr.attrs.Get<Dims>("axes"); }

std::vector<Shape> ReduceType(const Instr& instr) {
  const Shape& x = instr.inputs[0].shape();
  const bool is_number = x.dtype == DType::kF32 || x.dtype == DType::kBF16 ||
                         (x.dtype == DType::kS32 && instr.op->name != "reduce_min");
  if (!is_number) {
    FailIn(instr, "expected f32, bf16{}, got {}; convert first",
           instr.op->name != "reduce_min" ? " or s32" : "", Name(x.dtype));
  }
  Dims dims;
  for (int64_t i = 0; i < x.rank(); ++i) {
    if (std::count(AxesOf(instr).begin(), AxesOf(instr).end(), i) == 0) {
      dims.push_back(x.dims[static_cast<size_t>(i)]);
    }
  }
  if (dims.empty() || AxesOf(instr).empty()) {
    FailIn(instr,
           "expected to reduce some dimensions of {} and keep some, got {} to reduce; Reshape to "
           "[1, ...] keeps one",
           ToString(x), ToString(AxesOf(instr)));
  }
  return {{x.dtype, dims}};
}

void PrintReduction(const Instr& instr, MosaicWriter& writer, std::string_view kind, double init) {
  const std::string type = MosaicWriter::Type(instr.results[0]);
  const std::string number = MosaicWriter::Number(instr.results[0].dtype, init);
  const auto acc = writer.Constant(fmt::format("dense<{}>", number), type);
  writer.Bind({const_cast<Instr*>(&instr), 0},
              writer.Emit("vector.multi_reduction", {writer.Get(instr.inputs[0]), acc},
                          fmt::format("kind = #vector.kind<{}>, reduction_dims = {}", kind,
                                      I64Array(AxesOf(instr))),
                          type));
}

template <Tensor (*Function)(const Tensor&, const Dims&, sophia::ReduceOptions, Loc)>
std::vector<Tensor> InterpretReduction(const Instr& instr, Interpreter& in) {
  return {Function(in.In(instr, 0), AxesOf(instr), {}, instr.loc)};
}

constinit const KernelOp kSum = Op({
    .name = "sum",
    .print = [](const Instr& instr,
                MosaicWriter& writer) { PrintReduction(instr, writer, "add", 0); },
    .type = ReduceType,
    .interpret = InterpretReduction<sophia::Sum>,
});

constinit const KernelOp kReduceMax = Op({
    .name = "reduce_max",
    .print =
        [](const Instr& instr, MosaicWriter& writer) {
          const bool is_float = IsFloat(instr.results[0].dtype);
          PrintReduction(instr, writer, is_float ? "maximumf" : "maxsi",
                         is_float ? -kInfinity : kLeastS32);
        },
    .type = ReduceType,
    .interpret = InterpretReduction<sophia::ReduceMax>,
});

constinit const KernelOp kReduceMin = Op({
    .name = "reduce_min",
    .print = [](const Instr& instr,
                MosaicWriter& writer) { PrintReduction(instr, writer, "minimumf", kInfinity); },
    .type = ReduceType,
    .interpret = InterpretReduction<sophia::ReduceMin>,
});

// The dimension of an operand that is summed over.
int64_t LhsContract(const Instr& instr) { return instr.attrs.Get<bool>("transpose_lhs") ? 0 : 1; }
int64_t RhsContract(const Instr& instr) { return instr.attrs.Get<bool>("transpose_rhs") ? 1 : 0; }

bool IsHighest(const Instr& instr) { return instr.attrs.Get<bool>("highest"); }

std::vector<Shape> DotType(const Instr& instr) {
  const Shape& lhs = instr.inputs[0].shape();
  const Shape& rhs = instr.inputs[1].shape();
  if (lhs.rank() != 2 || rhs.rank() != 2) {
    FailIn(instr, "expected two matrices, got {} and {}", ToString(lhs), ToString(rhs));
  }
  if (lhs.dtype != rhs.dtype) {
    FailIn(instr, "expected operands of one element type, got {} and {}; convert one of them",
           ToString(lhs), ToString(rhs));
  }
  if (lhs.dtype == DType::kBool || (IsInteger(lhs.dtype) && Info(lhs.dtype).bits > 8)) {
    FailIn(instr, "expected floats or integers of at most 8 bits, got {}", Name(lhs.dtype));
  }
  const int64_t k = lhs.dims[static_cast<size_t>(LhsContract(instr))];
  if (k != rhs.dims[static_cast<size_t>(RhsContract(instr))]) {
    FailIn(instr, "expected [{}] x [{}], got {} and {}",
           instr.attrs.Get<bool>("transpose_lhs") ? "K, M" : "M, K",
           instr.attrs.Get<bool>("transpose_rhs") ? "N, K" : "K, N", ToString(lhs), ToString(rhs));
  }
  if (IsHighest(instr) && lhs.dtype != DType::kF32) {
    FailIn(instr, "expected f32 operands for the highest precision, got {}", Name(lhs.dtype));
  }
  const Shape result{IsFloat(lhs.dtype) ? DType::kF32 : DType::kS32,
                     {lhs.dims[static_cast<size_t>(1 - LhsContract(instr))],
                      rhs.dims[static_cast<size_t>(1 - RhsContract(instr))]}};
  if (instr.inputs.size() > 2 && instr.inputs[2].shape() != result) {
    FailIn(instr, "expected an accumulator {}, got {}", ToString(result),
           ToString(instr.inputs[2].shape()));
  }
  return {result};
}

void PrintDot(const Instr& instr, MosaicWriter& writer) {
  const std::string type = MosaicWriter::Type(instr.results[0]);
  std::vector operands = {writer.Get(instr.inputs[0]), writer.Get(instr.inputs[1])};
  operands.push_back(
      instr.inputs.size() > 2
          ? writer.Get(instr.inputs[2])
          : writer.Constant(
                fmt::format("dense<{}>", MosaicWriter::Number(instr.results[0].dtype, 0)), type));
  const int64_t lhs = LhsContract(instr);
  const int64_t rhs = RhsContract(instr);
  writer.Bind(
      {const_cast<Instr*>(&instr), 0},
      writer.Emit(
          "tpu.matmul", operands,
          fmt::format("dimension_numbers = #tpu.dot_dimension_numbers<[{}], [{}], "
                      "[{}], [{}], [0, {}, 1, {}], [], []>{}",
                      lhs, rhs, 1 - lhs, 1 - rhs, 1 - lhs, 1 - rhs,
                      IsHighest(instr) ? ", precision = #tpu.contract_precision<fp32>" : ""),
          type));
}

std::string DotLacks(const Instr& instr, const ChipInfo& chip) {
  const DType dtype = instr.inputs[0].dtype();
  if (dtype == DType::kBF16 && !chip.bf16_dot) {
    return "expected f32 operands, got bf16; convert both to f32 in the kernel";
  }
  if (Info(dtype).bits <= 8 && !chip.int8_dot) {
    return fmt::format("expected f32 or bf16 operands, got {}", Name(dtype));
  }
  return "";
}

constinit const KernelOp kDot = Op({
    .name = "dot",
    .print = PrintDot,
    .type = DotType,
    .interpret =
        [](const Instr& instr, Interpreter& in) {
          const Tensor product = DotGeneral(in.In(instr, 0), in.In(instr, 1),
                                            {.lhs_contract = {LhsContract(instr)},
                                             .rhs_contract = {RhsContract(instr)},
                                             .precision = Precision::kHighest,
                                             .result = instr.results[0].dtype},
                                            instr.loc);
          return std::vector{instr.inputs.size() > 2 ? product + in.In(instr, 2) : product};
        },
    .lacks = DotLacks,
});

Val Reduce(const KernelOp& op, const Val& x, const Dims& axes, ReduceOptions options, Loc loc) {
  Dims reduced;
  for (const int64_t axis : axes) reduced.push_back(CheckedAxis(axis, x.rank(), op.name, loc));
  std::sort(reduced.begin(), reduced.end());
  const Val result = Apply(op, {x}, {{"axes", reduced}}, loc);
  if (!options.keep_dims) return result;
  Dims dims = x.dims();
  for (const int64_t axis : reduced) dims[static_cast<size_t>(axis)] = 1;
  return Reshape(result, dims, loc);
}

}  // namespace

Val Sum(const Val& x, const Dims& axes, ReduceOptions options, Loc loc) {
  return Reduce(kSum, x, axes, options, loc);
}
Val ReduceMax(const Val& x, const Dims& axes, ReduceOptions options, Loc loc) {
  return Reduce(kReduceMax, x, axes, options, loc);
}
Val ReduceMin(const Val& x, const Dims& axes, ReduceOptions options, Loc loc) {
  return Reduce(kReduceMin, x, axes, options, loc);
}

Val Dot(const Val& lhs, const Val& rhs, const DotOptions& options, Loc loc) {
  std::vector<Val> inputs = {lhs, rhs};
  if (options.acc.defined()) inputs.push_back(options.acc);
  return Apply(kDot, std::move(inputs),
               {{"transpose_lhs", options.transpose_lhs},
                {"transpose_rhs", options.transpose_rhs},
                {"highest", options.precision == DotPrecision::kHighest}},
               loc);
}

std::vector<const KernelOp*> ReduceOps() { return {&kSum, &kReduceMax, &kReduceMin, &kDot}; }

}  // namespace sophia::pallas
