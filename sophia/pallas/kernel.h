#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sophia/pallas/chips.h"
#include "sophia/pallas/ref.h"

namespace sophia::pallas {

enum class DimensionSemantics : uint8_t {
  kArbitrary,  // in order; blocks and scratch may carry from step to step
  kParallel,   // any order, may be split over cores
};

// What an index map sees: the program id of each grid dimension, and the scalar-prefetch refs.
struct GridIndex {
  std::vector<Val> ids;
  std::vector<Ref> prefetch;
  const Val& operator[](size_t axis) const { return ids.at(axis); }
};
// Returns the block index along each dimension of the array (not the element index).
using BlockIndex = std::vector<Arg>;
using IndexMap = std::function<BlockIndex(const GridIndex&)>;

// In BlockSpec::block: one element of a leading dimension, which the ref does not have.
inline constexpr int64_t kSqueezed = -1;

// How an array reaches the kernel, block by block (pl.BlockSpec).
struct BlockSpec {
  Dims block = {};          // empty: the whole array
  IndexMap index_map = {};  // null: block 0 always
  MemorySpace space = MemorySpace::kVmem;
  bool single_buffer = false;  // no second buffer for prefetching the next block
};

struct ScratchSpec {
  MemorySpace space = MemorySpace::kVmem;
  Shape shape;
};
inline ScratchSpec Vmem(DType dtype, Dims dims) { return {MemorySpace::kVmem, {dtype, dims}}; }
inline ScratchSpec Smem(DType dtype, Dims dims) { return {MemorySpace::kSmem, {dtype, dims}}; }
inline ScratchSpec DmaSemaphore(Dims dims = {}) {
  return {MemorySpace::kSemaphore, {DType::kS32, dims}};
}

// For XLA's scheduler and cost analysis; of the whole call.
struct CostEstimate {
  int64_t flops = 0;
  int64_t transcendentals = 0;
  int64_t bytes_accessed = 0;
};

// Everything about a kernel but its body (the arguments of pl.pallas_call).
struct KernelSpec {
  std::string name;  // an identifier
  Dims grid = {};    // the last dimension runs fastest; empty: one program
  std::vector<DimensionSemantics> dimension_semantics = {};  // empty: all arbitrary
  int64_t num_scalar_prefetch = 0;                           // the first inputs go to SMEM whole
  std::vector<BlockSpec> in_specs;                           // of the other inputs
  std::vector<Shape> out_shapes;
  std::vector<BlockSpec> out_specs;
  std::vector<ScratchSpec> scratch_shapes = {};
  // Input index (prefetch included) to the output that takes over its buffer.
  std::map<int64_t, int64_t> input_output_aliases = {};
  std::optional<CostEstimate> cost_estimate = std::nullopt;
  int64_t vmem_limit_bytes = 0;  // 0: the chip's default
  bool has_side_effects = false;
};

// The body's arguments.
struct KernelRefs {
  std::vector<Ref> prefetch;
  std::vector<Ref> in;
  std::vector<Ref> out;
  std::vector<Ref> scratch;
};
using KernelBody = std::function<void(const KernelRefs&)>;

// Index of this program along a grid dimension (s32 scalar), and how many there are.
Val ProgramId(int64_t axis, Loc loc = Loc::current());
int64_t NumPrograms(int64_t axis, Loc loc = Loc::current());

// pl.when: runs the body's effects if the scalar bool holds.
using Action = std::function<void()>;
void When(const Val& condition, const Action& body, Loc loc = Loc::current());
void When(const Val& condition, const Action& body, const Action& otherwise,
          Loc loc = Loc::current());

// jax.lax.cond: the values of one of two branches, of equal types.
using Values = std::vector<Val>;
Values Cond(const Val& condition, const std::function<Values()>& if_true,
            const std::function<Values()>& if_false, Loc loc = Loc::current());

// jax.lax.fori_loop: body(i, carry) for i in [lo, hi); bounds may be s32 scalars.
using LoopBody = std::function<Values(const Val& i, const Values& carry)>;
Values For(Arg lo, Arg hi, const Values& init, const LoopBody& body, Loc loc = Loc::current());
void For(Arg lo, Arg hi, const std::function<void(const Val& i)>& body, Loc loc = Loc::current());

// jax.lax.while_loop. The condition may read refs; it must not write them or draw random bits.
Values While(const Values& init, const std::function<Val(const Values&)>& condition,
             const std::function<Values(const Values&)>& body, Loc loc = Loc::current());

// A traced kernel.
struct Kernel {
  KernelSpec spec;
  std::vector<Shape> inputs;
  // In Mosaic's order: prefetch, inputs, outputs, scratch. Windows stand at the same index, null
  // where the ref is the whole array or scratch.
  std::vector<RefDef> refs;
  std::vector<std::unique_ptr<Window>> windows;
  Block body;  // parameters: the program ids
  Loc loc;

  int64_t programs() const { return Product(spec.grid); }
  size_t first_output() const { return inputs.size(); }
  size_t first_scratch() const { return inputs.size() + spec.out_shapes.size(); }
};

// Runs the body once and records it. Checks specs, blocks, windows and every instruction; with a
// chip, also its VMEM and what it lacks. Throws Error naming kernel, operand, rule and line.
Kernel TraceKernel(const KernelSpec& spec, const KernelBody& body, const std::vector<Shape>& inputs,
                   std::optional<Chip> chip = std::nullopt, Loc loc = Loc::current());

// VMEM that the kernel's blocks and scratch take, tile padding and double buffers included.
int64_t VmemBytes(const Kernel& kernel);

}  // namespace sophia::pallas
