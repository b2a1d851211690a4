#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "sophia/graph/graph.h"

namespace sophia {

// Functions that are traced into a region. They may use tensors of the enclosing trace.
using TensorFunction = std::function<std::vector<Tensor>(std::span<const Tensor>)>;
using Predicate = std::function<Tensor(std::span<const Tensor>)>;

// Repeats `body` while `condition` holds. Reverse-mode differentiation is an error; use Scan.
std::vector<Tensor> While(const Predicate& condition, const TensorFunction& body,
                          const std::vector<Tensor>& init, Loc loc = Loc::current());

// Runs branches[index] (an s32 scalar), the last one for an index out of range. Branches return
// tensors of equal shapes. Throws Error when they do not, when there is none, or for another index.
using Branch = std::function<std::vector<Tensor>()>;
std::vector<Tensor> Case(const Tensor& index, const std::vector<Branch>& branches,
                         Loc loc = Loc::current());
// The same by a bool scalar.
std::vector<Tensor> Cond(const Tensor& predicate, const Branch& if_true, const Branch& if_false,
                         Loc loc = Loc::current());

// Calls a function by name; it is traced at its first call and must not use outer tensors.
std::vector<Tensor> Call(const std::string& name, const TensorFunction& function,
                         const std::vector<Tensor>& arguments, Loc loc = Loc::current());

struct ScanStep {
  std::vector<Tensor> carry;
  std::vector<Tensor> ys = {};
};
using ScanBody = std::function<ScanStep(std::span<const Tensor> carry, std::span<const Tensor> xs)>;

struct ScanOptions {
  int64_t length = -1;   // needed only without xs
  bool reverse = false;  // from the last element to the first
  Remat remat = {};      // what the reverse pass may keep of each iteration
};

// jax.lax.scan: runs `body` over the leading dimension of each of `xs`. `carry` is handed from step
// to step; the step's `ys` are stacked along a new leading dimension.
struct ScanResult {
  std::vector<Tensor> carry;
  std::vector<Tensor> ys;
};
ScanResult Scan(const ScanBody& body, const std::vector<Tensor>& init,
                const std::vector<Tensor>& xs, const ScanOptions& options = {},
                Loc loc = Loc::current());

// Region ops that autodiff and the printer know by name.
extern const OpDef kWhile;
extern const OpDef kCase;
extern const OpDef kCall;
// inputs: init carries, then xs. regions[0]: parameters carries, x slices; results carries, ys.
extern const OpDef kScan;

}  // namespace sophia
