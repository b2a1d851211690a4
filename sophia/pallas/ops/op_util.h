#pragma once

#include <vector>

#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/pallas/interpreter.h"
#include "sophia/pallas/mosaic_writer.h"
#include "sophia/pallas/trace.h"
#include "sophia/pallas/val.h"

// Helpers of the kernel ops' definitions, and the rows of their table: one list a file.
namespace sophia::pallas {

std::vector<const KernelOp*> ElementwiseOps();
std::vector<const KernelOp*> TypeOps();
std::vector<const KernelOp*> ShapeOps();
std::vector<const KernelOp*> ReduceOps();
std::vector<const KernelOp*> MemoryOps();
std::vector<const KernelOp*> DmaOps();
std::vector<const KernelOp*> ControlOps();
std::vector<const KernelOp*> SpecialOps();

// Type rule: all operands of one shape, of a kind that `op.mosaic` names and wide enough.
std::vector<Shape> SameShape(const Instr& instr);
// Fails unless the op computes on elements of `dtype`.
void CheckElements(const Instr& instr, DType dtype);

template <Tensor (*Function)(const Tensor&, Loc)>
std::vector<Tensor> Interpret1(const Instr& instr, Interpreter& in) {
  return {Function(in.In(instr, 0), instr.loc)};
}
template <Tensor (*Function)(Operand, Operand)>
std::vector<Tensor> Interpret2(const Instr& instr, Interpreter& in) {
  return {Function({in.In(instr, 0), instr.loc}, {in.In(instr, 1), instr.loc})};
}

// Both operands as values of one shape: numbers take the other's type, sizes broadcast.
struct ArgPair {
  Val a;
  Val b;
  Loc loc;
};
ArgPair Broadcast(std::string_view op, const Arg& a, const Arg& b);

std::vector<Val> ResultsOf(Instr* instr);

}  // namespace sophia::pallas
