#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/graph/node.h"

// What a kernel is recorded into: a list of typed instructions over values and refs, from which the
// Mosaic text and the interpreting graph are made.
namespace sophia::pallas {

struct Instr;
struct KernelOp;

// A value of the kernel being traced. Rank 0 is a scalar (an index, a flag, a number in SMEM); any
// other rank is a vector in registers. A default-constructed Val stands for "no value".
class Val {
 public:
  Val() = default;
  Val(Instr* instr, int index) : instr_(instr), index_(index) {}

  bool defined() const { return instr_ != nullptr; }
  Instr* instr() const { return instr_; }
  int index() const { return index_; }

  const Shape& shape() const;
  const Dims& dims() const { return shape().dims; }
  DType dtype() const { return shape().dtype; }
  int64_t rank() const { return shape().rank(); }
  // Size of one dimension; negative counts from the last.
  int64_t dim(int64_t axis) const;
  bool is_scalar() const { return rank() == 0; }

  bool operator==(const Val&) const = default;

 private:
  Instr* instr_ = nullptr;
  int index_ = 0;
};

struct ValHash {
  size_t operator()(const Val& val) const {
    return std::hash<const void*>()(val.instr()) * 31 + static_cast<size_t>(val.index());
  }
};

// Instructions with parameters and results: a kernel's body, a branch, a loop's body, an index map.
struct Block {
  std::vector<std::unique_ptr<Instr>> parameters;
  std::vector<std::unique_ptr<Instr>> instrs;
  std::vector<Val> results;
};

// One instruction. Refs that it touches are attributes: indices into Kernel::refs.
struct Instr {
  const KernelOp* op = nullptr;
  std::vector<Val> inputs;
  std::vector<Shape> results;
  Attrs attrs;
  std::vector<std::unique_ptr<Block>> blocks;
  // For s32 scalars: a number that certainly divides the value; 0 for the constant 0.
  int64_t multiple = 1;
  const Block* parent = nullptr;
  Loc loc;
};

enum class MemorySpace : uint8_t {
  kVmem,       // vector memory: what the body computes on
  kSmem,       // scalar memory: single numbers with dynamic indices
  kAny,        // where the array lives (HBM); reached by AsyncCopy only
  kSemaphore,  // DMA semaphores
};

// "vmem", "smem", "any", "semaphore_mem": Mosaic's names.
std::string_view Name(MemorySpace space);

// A buffer that the body sees: one for each operand, result and scratch.
struct RefDef {
  enum class Role : uint8_t { kPrefetch, kInput, kOutput, kScratch };
  std::string name;  // "in[0]", as errors and texts say
  Role role = Role::kInput;
  MemorySpace space = MemorySpace::kVmem;
  Shape shape;
};

// How blocks of an array are brought to its ref. Dimensions are those of the array.
struct Window {
  Shape array;
  Dims block;
  // From the program ids (and the scalar-prefetch refs) to the indices of a block.
  std::unique_ptr<Block> index_map;
  // The same block for every program.
  bool is_constant = false;
};

class MosaicWriter;
class Interpreter;
struct ChipInfo;

// Which Mosaic operation serves each kind of element type; an empty name refuses the kind.
struct MosaicNames {
  std::string_view on_float = {};
  std::string_view on_signed = {};
  std::string_view on_unsigned = {};
  std::string_view on_bool = {};

  constexpr std::string_view For(DTypeKind kind) const {
    switch (kind) {
      case DTypeKind::kFloat:
        return on_float;
      case DTypeKind::kSigned:
        return on_signed;
      case DTypeKind::kUnsigned:
        return on_unsigned;
      default:
        return on_bool;
    }
  }
  constexpr bool any() const {
    return !(on_float.empty() && on_signed.empty() && on_unsigned.empty() && on_bool.empty());
  }
};

// Everything there is to know about one kernel op. Built by Op(), which refuses incomplete
// definitions at compile time.
struct KernelOp {
  std::string_view name;
  // Mosaic's operation by the first operand's type, written in the generic form; or `print`.
  MosaicNames mosaic = {};
  std::string (*attributes)(const Instr&) = nullptr;
  void (*print)(const Instr&, MosaicWriter&) = nullptr;
  // Result types, from inputs, attributes and blocks. Throws Error through FailIn().
  std::vector<Shape> (*type)(const Instr&) = nullptr;
  // The same computation as graph ops.
  std::vector<Tensor> (*interpret)(const Instr&, Interpreter&) = nullptr;
  // What of it a chip lacks, as "expected …, got …" would say it; empty if nothing. Null: nothing.
  std::string (*lacks)(const Instr&, const ChipInfo&) = nullptr;
  // A divisor of the result, for s32 scalars. Null: 1.
  int64_t (*multiple)(const Instr&) = nullptr;
  // The result for known operands, for s32 and bool scalars. Null: not known.
  int64_t (*fold)(const Instr&, std::span<const int64_t>) = nullptr;
  // Narrowest integer elements that every chip computes on.
  int int_bits = 32;
};

// (GCC cannot compare a function's address at compile time while it sanitizes.)
consteval KernelOp Op(KernelOp op) {
#ifndef __SANITIZE_ADDRESS__
  if (op.name.empty()) throw "a kernel op needs a name";
  if (op.type == nullptr) throw "a kernel op needs a type rule";
  if (op.mosaic.any() == (op.print != nullptr)) throw "a kernel op needs Mosaic names or a printer";
  if (op.interpret == nullptr) throw "a kernel op needs an interpretation";
#endif
  return op;
}

// Every kernel op, in the order of the documents and tests.
std::vector<const KernelOp*> AllKernelOps();

// Applies the op's type rule and appends the instruction to the block being traced.
Instr* AddInstr(const KernelOp& op, std::vector<Val> inputs, Attrs attrs, Loc loc,
                std::vector<std::unique_ptr<Block>> blocks = {});
inline Val Apply(const KernelOp& op, std::vector<Val> inputs, Attrs attrs, Loc loc) {
  return {AddInstr(op, std::move(inputs), std::move(attrs), loc), 0};
}

// Throws Error at `loc`: "kernel 'name': message".
[[noreturn]] void FailKernel(Loc loc, std::string_view message);

// Throws Error naming the kernel, the op and the user's line.
template <typename... Args>
[[noreturn]] void FailIn(const Instr& instr, fmt::format_string<Args...> format, Args&&... args) {
  FailKernel(instr.loc, fmt::format("{}: {}", instr.op->name,
                                    fmt::format(format, std::forward<Args>(args)...)));
}

// The value of a constant s32 scalar, if it is one.
bool IsConstant(const Val& val, int64_t* value = nullptr);

extern const KernelOp kParameter;

}  // namespace sophia::pallas
