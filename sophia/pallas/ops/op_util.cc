#include "sophia/pallas/ops/op_util.h"

#include "sophia/graph/ops/shape_ops.h"

namespace sophia::pallas {

std::vector<const KernelOp*> AllKernelOps() {
  std::vector<const KernelOp*> all;
  for (const auto& list : {ElementwiseOps(), TypeOps(), ShapeOps(), ReduceOps(), SpecialOps(),
                           MemoryOps(), DmaOps(), ControlOps()}) {
    all.insert(all.end(), list.begin(), list.end());
  }
  return all;
}

void CheckElements(const Instr& instr, DType dtype) {
  const MosaicNames& names = instr.op->mosaic;
  const DTypeKind kind = Info(dtype).kind;
  if (names.For(kind).empty()) {
    std::string kinds;
    const auto add = [&kinds](std::string_view name, std::string_view text) {
      if (!name.empty()) kinds += fmt::format("{}{}", kinds.empty() ? "" : " or ", text);
    };
    add(names.on_float, "float");
    add(names.on_signed, "signed integer");
    add(names.on_unsigned, "unsigned integer");
    add(names.on_bool, "bool");
    FailIn(instr, "expected {} operands, got {}", kinds, Name(dtype));
  }
  if (IsInteger(dtype) && Info(dtype).bits < instr.op->int_bits) {
    FailIn(instr, "expected integers of at least {} bits, got {}; convert to {} first",
           instr.op->int_bits, Name(dtype), kind == DTypeKind::kSigned ? "s32" : "u32");
  }
}

std::vector<Shape> SameShape(const Instr& instr) {
  const Shape& first = instr.inputs[0].shape();
  for (const Val& input : instr.inputs) {
    if (input.shape() != first) {
      FailIn(instr, "expected operands of one shape and type, got {} and {}", ToString(first),
             ToString(input.shape()));
    }
  }
  CheckElements(instr, first.dtype);
  return {first};
}

ArgPair Broadcast(std::string_view op, const Arg& a, const Arg& b) {
  const Loc loc = a.number() ? b.loc() : a.loc();
  if (a.number() && b.number()) {
    FailKernel(loc, fmt::format("{}: expected a kernel value, got two numbers", op));
  }
  const auto full = [&](const Arg& number, const Val& like) {
    return Full(like.shape(), *number.number(), loc);
  };
  if (a.number()) return {full(a, b.val()), b.val(), loc};
  if (b.number()) return {a.val(), full(b, a.val()), loc};
  if (a.val().dtype() != b.val().dtype()) {
    FailKernel(loc, fmt::format("{}: expected operands of one element type, got {} and {}; convert "
                                "one of them",
                                op, ToString(a.val().shape()), ToString(b.val().shape())));
  }
  const Dims dims = BroadcastDims(a.val().dims(), b.val().dims(), op, loc);
  return {BroadcastTo(a.val(), dims, loc), BroadcastTo(b.val(), dims, loc), loc};
}

std::vector<Val> ResultsOf(Instr* instr) {
  std::vector<Val> results;
  for (size_t i = 0; i < instr->results.size(); ++i)
    results.emplace_back(instr, static_cast<int>(i));
  return results;
}

}  // namespace sophia::pallas
