#include "sophia/train/policy_order.h"

#include <algorithm>
#include <limits>
#include <map>

#include "sophia/base/error.h"
#include "sophia/pallas/work_estimate.h"

namespace sophia::train {

std::vector<MemoryPolicy> PoliciesByTime(const models::ModelPlan& plan, StepOptions options,
                                         bool has_host) {
  std::vector<MemoryPolicy> policies =
      PoliciesToTry(plan.model->sizes(), options.shape.seq, has_host);
  const std::optional<pallas::Chip> known = plan.policy->kernels().chip;
  if (!known) return policies;
  const pallas::ChipInfo& chip = pallas::Info(*known);
  const auto estimate = [&](const MemoryPolicy& policy) {
    options.policy = policy;
    try {
      const pallas::WorkEstimate work = pallas::EstimateWork(*TraceStep(plan, options).graph, chip);
      return pallas::StepSeconds(work.seconds, work, chip, policy.activations.prefetches_inputs);
    } catch (const Error&) {
      return std::numeric_limits<double>::infinity();
    }
  };
  std::map<std::string, double> seconds;
  for (const MemoryPolicy& policy : policies) seconds[policy.ToString()] = estimate(policy);
  std::ranges::stable_sort(
      policies, {}, [&](const MemoryPolicy& policy) { return seconds.at(policy.ToString()); });
  return policies;
}

}  // namespace sophia::train
