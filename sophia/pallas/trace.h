#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "sophia/pallas/kernel.h"

// The kernel being traced on this thread.
namespace sophia::pallas {

// Of a tile: columns, and rows of 32-bit elements.
inline constexpr int64_t kLanes = 128;
inline constexpr int64_t kSublanes = 8;

class Tracer {
 public:
  explicit Tracer(Kernel& kernel, std::optional<Chip> chip);
  ~Tracer();
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  // Throws InternalError outside TraceKernel.
  static Tracer& Current();
  static const Tracer* Active();

  Kernel& kernel() { return kernel_; }
  const Kernel& kernel() const { return kernel_; }
  Block& block() { return *open_.back(); }
  bool tracing() const { return !open_.empty(); }
  // Whether instructions of `block` may be used where tracing stands.
  bool IsOpen(const Block* block) const;
  const std::optional<Chip>& chip() const { return chip_; }

  // Runs `body` with a new block as the one that instructions go to.
  std::unique_ptr<Block> Trace(
      const std::vector<Shape>& parameters, Loc loc,
      const std::function<std::vector<Val>(const std::vector<Val>&)>& body);
  void TraceInto(Block& block, const std::function<void()>& body);

 private:
  Kernel& kernel_;
  std::optional<Chip> chip_;
  std::vector<Block*> open_;
  Tracer* previous_;
};

// Ops that the interpreter knows to change the random state.
extern const KernelOp kPrngSeed;
extern const KernelOp kPrngBits;

// Appends a parameter to a block.
Val AddParameter(Block& block, const Shape& shape, Loc loc);

// A scalar s32 from an index operand. Throws Error naming the operand when it is something else.
Val AsIndex(const Arg& arg, std::string_view what);

// Indices of the refs that a block's instructions, nested ones included, write.
std::vector<int64_t> WrittenRefs(const Block& block);
// Whether they seed or draw random numbers.
bool DrawsRandomBits(const Block& block);

// Spec rules, before the body runs: block shapes, counts, aliases, scratch. Fills `refs` and the
// windows' arrays and blocks.
void LayOutRefs(Kernel& kernel);
// Windows against arrays, for all programs whose index maps can be evaluated.
void CheckWindows(const Kernel& kernel);
// VMEM and SMEM against the chip.
void CheckMemory(const Kernel& kernel, Chip chip);

}  // namespace sophia::pallas
