#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sophia/pallas/kernel.h"

namespace sophia::pallas {

// Writes one function of a Mosaic module. Ops with a `print` rule use it to write their lines.
class MosaicWriter {
 public:
  // With `locations`, operations carry the line of user code, which libtpu's errors then name.
  MosaicWriter(const Kernel& kernel, int depth, bool locations)
      : kernel_(kernel), depth_(depth), locations_(locations) {}

  // A name and its type.
  struct Operand {
    std::string name;
    std::string type;
  };

  // "f32" for scalars, else "vector<8x128xf32>". Integers have no sign.
  static std::string Type(const Shape& shape);
  static std::string ElementType(DType dtype);
  // MLIR's literal, "1.00000000e+00" or "7".
  static std::string Number(DType dtype, double value);

  Operand Get(const Val& val);
  // An s32 scalar as `index`, with a promise that it is a multiple where libtpu could not see it.
  Operand GetIndex(const Val& val, int64_t multiple = 1);
  std::vector<Operand> GetIndices(const std::vector<Val>& vals);
  // A kernel's buffer, and a part of it as a memref of its own with dimensions `dims` (for DMAs).
  Operand GetRef(int64_t ref) const;
  Operand GetPart(const Part& part, const Dims& dims);

  // A constant; equal ones share a line at the head of the function. Bound to a value, it is
  // written when something uses the value.
  void BindConstant(const Val& val, std::string literal);
  Operand Constant(const std::string& literal, const std::string& type);
  // The line of an operation; returns its result.
  Operand Emit(std::string_view op, const std::vector<Operand>& operands,
               std::string_view attributes, const std::string& result);
  // The same without result.
  void EmitVoid(std::string_view op, const std::vector<Operand>& operands,
                std::string_view attributes);
  void Bind(const Val& val, Operand operand) { values_[val] = std::move(operand); }

  // The lines of an operation with the instruction's blocks as regions; binds its results.
  void EmitWithBlocks(const Instr& instr, std::string_view op,
                      const std::vector<Operand>& operands);
  // Binds a block's parameters to fresh names and writes "^bb0(...):" with `more` behind them.
  void OpenBlock(const Block& block, const std::vector<Operand>& more = {});
  void PrintInstrs(const Block& block);
  // The terminator that hands out values.
  void Terminate(std::string_view op, const std::vector<Operand>& operands);
  void Line(std::string_view text);
  std::string Fresh() { return "%" + std::to_string(next_++); }

  // What was written since the last call, constants first.
  std::string TakeText() { return std::exchange(constants_text_, {}) + std::exchange(text_, {}); }
  void Indent() { ++depth_; }
  const Kernel& kernel() const { return kernel_; }

 private:
  // An s32 scalar, promised to be a multiple unless its instruction shows it.
  Operand GetMultiple(const Val& val, int64_t multiple);
  void PrintGeneric(const Instr& instr);
  void PrintInstr(const Instr& instr);

  const Kernel& kernel_;
  std::unordered_map<Val, Operand, ValHash> values_;
  std::unordered_map<Val, std::string, ValHash> literals_;
  std::map<std::pair<std::string, std::string>, std::string> constants_;
  std::string constants_text_;
  std::string text_;
  std::string location_;  // " loc(...)" of the instruction being printed
  int depth_;
  bool locations_;
  int next_ = 0;
};

}  // namespace sophia::pallas
