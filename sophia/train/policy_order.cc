#include "sophia/train/policy_order.h"

#include <algorithm>
#include <map>

#include "sophia/pallas/work_estimate.h"

namespace sophia::train {

std::vector<MemoryPolicy> PoliciesByTime(const models::ModelPlan& plan, StepOptions options,
                                         bool has_host) {
  std::vector<MemoryPolicy> policies =
      PoliciesToTry(plan.model->sizes(), options.shape.seq, has_host);
  const std::optional<pallas::Chip> known = plan.policy->kernels().chip;
  if (!known) return policies;
  const pallas::ChipInfo& chip = pallas::Info(*known);
  std::map<std::string, double> seconds;
  for (const MemoryPolicy& policy : policies) {
    options.policy = policy;
    const pallas::WorkEstimate work = pallas::EstimateWork(*TraceStep(plan, options).graph, chip);
    seconds[policy.ToString()] =
        pallas::StepSeconds(work.seconds, work, chip, policy.activations.prefetches_inputs);
  }
  std::ranges::stable_sort(
      policies, {}, [&](const MemoryPolicy& policy) { return seconds.at(policy.ToString()); });
  return policies;
}

}  // namespace sophia::train
