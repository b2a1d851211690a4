#include "sophia/pallas/mosaic_writer.h"

#include <fmt/ranges.h>

#include <bit>
#include <cmath>

#include "sophia/base/float_bits.h"

namespace sophia::pallas {
namespace {

constexpr std::string_view kPrefix = "stable_mosaic.";

std::string DimsText(const Dims& dims) {
  std::string text;
  for (const int64_t dim : dims) text += fmt::format("{}x", dim);
  return text;
}

std::string Types(const std::vector<MosaicWriter::Operand>& operands) {
  std::vector<std::string> types;
  for (const auto& operand : operands) types.push_back(operand.type);
  return fmt::format("{}", fmt::join(types, ", "));
}

std::string Names(const std::vector<MosaicWriter::Operand>& operands) {
  std::vector<std::string> names;
  for (const auto& operand : operands) names.push_back(operand.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string Call(std::string_view op, const std::vector<MosaicWriter::Operand>& operands,
                 std::string_view attributes, std::string_view result) {
  return fmt::format("\"{}{}\"({}){} : ({}) -> {}", kPrefix, op, Names(operands),
                     attributes.empty() ? "" : fmt::format(" {{{}}}", attributes), Types(operands),
                     result);
}

std::string MemrefType(const RefDef& def, const Dims& dims) {
  return fmt::format("memref<{}{}, #tpu.memory_space<{}>>", DimsText(dims),
                     def.space == MemorySpace::kSemaphore
                         ? "!tpu.dma_semaphore"
                         : MosaicWriter::ElementType(def.shape.dtype),
                     Name(def.space));
}

// Whether libtpu sees from the instruction that the value is a multiple.
bool ShowsMultiple(const Instr& instr, int64_t multiple) {
  if (instr.op->name == "assume_multiple") {
    return instr.attrs.Get<int64_t>("multiple") % multiple == 0;
  }
  if (instr.op->name != "mul") return false;
  for (const Val& input : instr.inputs) {
    int64_t factor = 0;
    if (IsConstant(input, &factor) && factor % multiple == 0) return true;
  }
  return false;
}

}  // namespace

std::string MosaicWriter::ElementType(DType dtype) {
  if (IsFloat(dtype)) return std::string(Info(dtype).mlir);
  return dtype == DType::kBool ? "i1" : fmt::format("i{}", Info(dtype).bits);
}

std::string MosaicWriter::Type(const Shape& shape) {
  if (shape.dims.empty()) return ElementType(shape.dtype);
  return fmt::format("vector<{}{}>", DimsText(shape.dims), ElementType(shape.dtype));
}

std::string MosaicWriter::Number(DType dtype, double value) {
  if (dtype == DType::kBool) return value != 0 ? "true" : "false";
  if (!IsFloat(dtype)) {
    const auto integer = static_cast<int64_t>(value);
    // Without sign: the upper half of an unsigned type is written as negative.
    const int bits = Info(dtype).bits;
    const bool is_upper = integer >= int64_t{1} << (bits - 1);
    return fmt::format("{}", is_upper ? integer - (int64_t{1} << bits) : integer);
  }
  const auto narrow = static_cast<float>(value);
  if (std::isfinite(narrow)) return fmt::format("{:.8e}", narrow);
  if (dtype == DType::kBF16) return fmt::format("0x{:04X}", FloatToBf16(narrow));
  SOPHIA_CHECK(dtype == DType::kF32, "a constant {} of type {}", value, Name(dtype));
  return fmt::format("0x{:08X}", std::bit_cast<uint32_t>(narrow));
}

void MosaicWriter::BindConstant(const Val& val, std::string literal) {
  literals_[val] = std::move(literal);
}

MosaicWriter::Operand MosaicWriter::Get(const Val& val) {
  const auto literal = literals_.find(val);
  if (literal != literals_.end()) return Constant(literal->second, Type(val.shape()));
  const auto it = values_.find(val);
  SOPHIA_CHECK(it != values_.end(), "a value of {} is used before it is written",
               val.instr()->op->name);
  return it->second;
}

MosaicWriter::Operand MosaicWriter::GetMultiple(const Val& val, int64_t multiple) {
  if (multiple == 1 || ShowsMultiple(*val.instr(), multiple)) return Get(val);
  return Emit("tpu.assume_multiple", {Get(val)}, fmt::format("multiple = {} : i32", multiple),
              "i32");
}

MosaicWriter::Operand MosaicWriter::GetIndex(const Val& val, int64_t multiple) {
  int64_t constant = 0;
  if (IsConstant(val, &constant)) return Constant(fmt::format("{}", constant), "index");
  return Emit("arith.index_cast", {GetMultiple(val, multiple)}, "", "index");
}

std::vector<MosaicWriter::Operand> MosaicWriter::GetIndices(const std::vector<Val>& vals) {
  std::vector<Operand> indices;
  for (const Val& val : vals) indices.push_back(GetIndex(val));
  return indices;
}

MosaicWriter::Operand MosaicWriter::GetRef(int64_t ref) const {
  const RefDef& def = kernel_.refs[static_cast<size_t>(ref)];
  return {fmt::format("%ref{}", ref), MemrefType(def, def.shape.dims)};
}

MosaicWriter::Operand MosaicWriter::GetPart(const Part& part, const Dims& dims) {
  const RefDef& def = kernel_.refs[static_cast<size_t>(part.ref)];
  Operand operand = GetRef(part.ref);
  if (part.sizes != def.shape.dims) {
    std::vector<Operand> operands = {operand};
    const size_t rank = part.sizes.size();
    for (size_t i = 0; i < rank; ++i) {
      const int64_t tile = def.space == MemorySpace::kSemaphore  ? 1
                           : i + 1 == rank                       ? 128
                           : i + 2 == rank && part.sizes[i] != 1 ? 8
                                                                 : 1;
      const bool is_constant = IsConstant(part.starts[i]);
      operands.push_back(is_constant ? Get(part.starts[i]) : GetMultiple(part.starts[i], tile));
    }
    operand = Emit("tpu.memref_slice", operands,
                   fmt::format("operandSegmentSizes = array<i32: 1, {}, 0>", rank),
                   MemrefType(def, part.sizes));
  }
  if (part.sizes == dims) return operand;
  return Emit("tpu.memref_squeeze", {operand}, "", MemrefType(def, dims));
}

MosaicWriter::Operand MosaicWriter::Constant(const std::string& literal, const std::string& type) {
  std::string& name = constants_[{literal, type}];
  if (name.empty()) {
    name = fmt::format("%c{}", constants_.size() - 1);
    const std::string value = type == "i1" ? literal : fmt::format("{} : {}", literal, type);
    constants_text_ += fmt::format("    {} = \"{}arith.constant\"() {{value = {}}} : () -> {}\n",
                                   name, kPrefix, value, type);
  }
  return {name, type};
}

MosaicWriter::Operand MosaicWriter::Emit(std::string_view op, const std::vector<Operand>& operands,
                                         std::string_view attributes, const std::string& result) {
  Operand operand{Fresh(), result};
  Line(operand.name + " = " + Call(op, operands, attributes, result) + location_);
  return operand;
}

void MosaicWriter::EmitVoid(std::string_view op, const std::vector<Operand>& operands,
                            std::string_view attributes) {
  Line(Call(op, operands, attributes, "()") + location_);
}

void MosaicWriter::Line(std::string_view text) {
  text_.append(static_cast<size_t>(depth_) * 2, ' ');
  text_ += text;
  text_ += '\n';
}

void MosaicWriter::Terminate(std::string_view op, const std::vector<Operand>& operands) {
  EmitVoid(op, operands, "");
}

void MosaicWriter::OpenBlock(const Block& block, const std::vector<Operand>& more) {
  std::vector<std::string> arguments;
  for (const auto& parameter : block.parameters) {
    const Operand operand{Fresh(), Type(parameter->results[0])};
    arguments.push_back(fmt::format("{}: {}", operand.name, operand.type));
    Bind({parameter.get(), 0}, operand);
  }
  for (const Operand& operand : more) {
    arguments.push_back(fmt::format("{}: {}", operand.name, operand.type));
  }
  Line(fmt::format("^bb0({}):", fmt::join(arguments, ", ")));
}

void MosaicWriter::EmitWithBlocks(const Instr& instr, std::string_view op,
                                  const std::vector<Operand>& operands) {
  const size_t count = instr.results.size();
  std::string head;
  if (count > 0) head = Fresh();
  const std::string name = head;
  if (count > 1) head += fmt::format(":{}", count);
  if (count > 0) head += " = ";
  Line(fmt::format("{}\"{}{}\"({}) ({{", head, kPrefix, op, Names(operands)));
  bool is_open = true;
  for (size_t i = 0; i < instr.blocks.size(); ++i) {
    const Block& block = *instr.blocks[i];
    const bool is_empty = i > 0 && block.instrs.empty() && block.results.empty();
    if (i > 0 && !is_empty) Line("}, {");
    if (is_empty) {
      text_.append(static_cast<size_t>(depth_) * 2, ' ');
      text_ += "}, {";
      is_open = false;
      continue;
    }
    if (!block.parameters.empty()) OpenBlock(block);
    ++depth_;
    PrintInstrs(block);
    std::vector<Operand> results;
    for (const Val& result : block.results) results.push_back(Get(result));
    const bool is_condition = op == "scf.while" && i == 0;
    if (is_condition) {
      for (const auto& parameter : block.parameters) results.push_back(Get({parameter.get(), 0}));
    }
    Terminate(is_condition ? "scf.condition" : "scf.yield", results);
    --depth_;
  }
  std::vector<std::string> types;
  for (const Shape& shape : instr.results) types.push_back(Type(shape));
  const std::string tail =
      fmt::format("}}) : ({}) -> {}", Types(operands),
                  count == 1 ? types[0] : fmt::format("({})", fmt::join(types, ", "))) +
      location_;
  if (is_open) {
    Line(tail);
  } else {
    text_ += tail + '\n';
  }
  for (size_t i = 0; i < count; ++i) {
    Bind({const_cast<Instr*>(&instr), static_cast<int>(i)},
         {count == 1 ? name : fmt::format("{}#{}", name, i), types[i]});
  }
}

void MosaicWriter::PrintGeneric(const Instr& instr) {
  std::vector<Operand> operands;
  for (const Val& input : instr.inputs) operands.push_back(Get(input));
  const DTypeKind kind = Info(instr.inputs[0].dtype()).kind;
  Bind({const_cast<Instr*>(&instr), 0},
       Emit(instr.op->mosaic.For(kind), operands,
            instr.op->attributes == nullptr ? "" : instr.op->attributes(instr),
            Type(instr.results[0])));
}

void MosaicWriter::PrintInstr(const Instr& instr) {
  const std::string outer = location_;
  if (locations_) location_ = fmt::format(" loc({})", instr.loc.Mlir());
  if (instr.op->print != nullptr) {
    instr.op->print(instr, *this);
  } else {
    PrintGeneric(instr);
  }
  location_ = outer;
}

void MosaicWriter::PrintInstrs(const Block& block) {
  for (const auto& instr : block.instrs) PrintInstr(*instr);
}

}  // namespace sophia::pallas
