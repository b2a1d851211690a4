#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "sophia/plan/measure.h"
#include "sophia/plan/memory.h"
#include "sophia/plan/target.h"
#include "sophia/train/options.h"

namespace sophia::plan {

struct PlanRequest {
  // As of a run. With `data`, and unless the length is searched, batches have the shape that they
  // would have in a run on it, else that of full ones.
  train::TrainOptions options;
  Target target;
  bool confirm = true;       // compile to the end, on the CPU run a step; else only check
  bool find_length = false;  // the longest that fits, not options.max_length
  std::optional<int64_t> host_limit = std::nullopt;  // bytes that the host has
  // Called before a search for the longest context, which can take minutes.
  std::function<void()> on_search = {};
  // Where to keep the step that was compiled to its end, for a run that finds it there.
  std::optional<CompileCache> save = std::nullopt;
};

// What a run of these options would take.
struct Plan {
  std::string target;
  train::BatchShape shape;
  std::string policy;
  std::string reason;  // why this policy; empty: it was asked for
  std::string hint;    // what would help a plan that does not fit
  bool fits = false;
  bool by_formula = false;  // LiveBytes(): the compiler is not installed
  bool confirmed = false;   // by a compilation to the end, on the CPU by a step
  MemoryTable memory;
  int64_t limit = 0;  // of device memory, bytes
  int64_t host = 0;   // memory of the host that the run needs at least, bytes
  std::optional<int64_t> host_limit = std::nullopt;  // that it has

  bool host_fits() const { return !host_limit || host <= *host_limit; }
  std::string compiler;
  double compile_seconds = 0;  // 0: not compiled to the end
  double step_seconds =
      0;  // an estimate for TPUs, see StepSeconds; measured on the CPU; 0: not known
  bool has_cycles = false;  // the estimate holds XLA's, else only products and kernels
};

// Traces the step that `train` would run and asks the target's compiler for its memory. A length is
// searched with the compiler's early check, where it has one, and then confirmed; without a policy
// in the options it takes the fastest that fits. Throws Error for a bad model or options, and when
// the compiler fails otherwise than for memory.
Plan MakePlan(const PlanRequest& request);

// The same with each policy that an automatic choice tries, the fastest first. options.policy is
// not read.
std::vector<Plan> ComparePolicies(const PlanRequest& request);

}  // namespace sophia::plan
