#pragma once

#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "sophia/pallas/kernel.h"

namespace sophia::pallas {

// What uninitialised or missing elements read as: NaN, or 77 for integers.
double Garbage(DType dtype);
Tensor GarbageTensor(const Shape& shape, Loc loc);

// Runs a kernel's instructions by adding graph ops to the trace. Refs are tensors that stores
// replace; branches and loops return those that they may have replaced.
class Interpreter {
 public:
  explicit Interpreter(const Kernel& kernel) : kernel_(kernel), state_(kernel.refs.size() + 1) {}

  const Tensor& Get(const Val& val) const;
  const Tensor& In(const Instr& instr, size_t i) const { return Get(instr.inputs[i]); }
  void Bind(const Val& val, const Tensor& tensor) { values_[val] = tensor; }

  // The content of a ref; one behind the last is the state of the random numbers.
  Tensor& State(int64_t ref) { return state_[static_cast<size_t>(ref)]; }
  int64_t random_state() const { return static_cast<int64_t>(kernel_.refs.size()); }

  // Refs that a block may replace, the random state included.
  std::vector<int64_t> Effects(const Block& block) const;
  // The refs' tensors, and putting them back in the same order.
  std::vector<Tensor> Save(std::span<const int64_t> refs) const;
  void Restore(std::span<const int64_t> refs, std::span<const Tensor> tensors);

  // Runs a block with its parameters bound; returns its results.
  std::vector<Tensor> Run(const Block& block, std::span<const Tensor> parameters);

  // Reads and writes the part of a tensor at dynamic starts. Outside, reading gives garbage and
  // writing does nothing. A start that is not `dynamic` is known to be inside.
  static Tensor Read(const Tensor& x, const std::vector<Tensor>& starts,
                     const std::vector<bool>& dynamic, const Dims& sizes, Loc loc);
  static Tensor Write(const Tensor& x, const Tensor& value, const std::vector<Tensor>& starts,
                      const std::vector<bool>& dynamic, Loc loc);
  Tensor ReadPart(const Part& part, Loc loc);
  void WritePart(const Part& part, const Tensor& value, Loc loc);

  const Kernel& kernel() const { return kernel_; }

 private:
  const Kernel& kernel_;
  std::unordered_map<Val, Tensor, ValHash> values_;
  std::vector<Tensor> state_;
};

}  // namespace sophia::pallas
