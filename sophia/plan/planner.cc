#include "sophia/plan/planner.h"

#include <algorithm>
#include <utility>

#include "sophia/base/strings.h"
#include "sophia/plan/search.h"
#include "sophia/plan/step_meter.h"

namespace sophia::plan {
namespace {

SearchRange RangeOf(int64_t positions) {
  const int64_t unit = std::min(positions, std::max<int64_t>(128, positions / 128));
  return {.unit = unit, .most = positions};
}

// What a plan that does not fit needs of what is short.
std::string Want(const Plan& plan) {
  const bool is_host = !plan.host_fits() && plan.memory.peak <= plan.limit;
  return HumanBytes(is_host ? plan.host : plan.memory.peak) + (is_host ? " of the host" : "");
}

class Planner {
 public:
  explicit Planner(const PlanRequest& request) : request_(request), meter_(request) {
    meter_.CheckLength();
  }

  // The fastest first.
  const std::vector<train::MemoryPolicy>& policies() {
    if (policies_.empty()) policies_ = meter_.PoliciesByTime();
    return policies_;
  }

  // Of the policies that fit, the first.
  Plan Choose() {
    if (request_.find_length) return ChooseForLongest();
    std::string before;
    Plan plan;
    for (const train::MemoryPolicy& policy : policies()) {
      plan = Make(policy, request_.confirm && !meter_.is_tpu());
      if (plan.fits && request_.confirm && !plan.confirmed) plan = Make(policy);
      if (plan.fits) {
        plan.reason = before.empty() ? "the first to try" : "the first that fits: " + before;
        return plan;
      }
      before += fmt::format("{}{} needs {}", before.empty() ? "" : ", ", plan.policy, Want(plan));
    }
    plan.hint = LengthThatFits();
    return plan;
  }

  Plan Make(const train::MemoryPolicy& policy) { return Make(policy, request_.confirm); }

  // Adds what would help to a plan that does not fit.
  Plan WithHint(Plan plan) {
    if (plan.fits || request_.find_length) return plan;
    for (const train::MemoryPolicy& policy : policies()) {
      if (policy.ToString() == plan.policy) continue;
      if (meter_.NeedAt(policy, meter_.length_asked()) > meter_.limit()) continue;
      const Plan longest = LongestWith(train::MemoryPolicy::FromText(plan.policy));
      plan.hint = fmt::format("--policy {} fits; with {} {} ({})", policy.ToString(), plan.policy,
                              longest.fits
                                  ? fmt::format("{} tokens are the most that do", longest.shape.seq)
                                  : "no context does",
                              meter_.source());
      return plan;
    }
    plan.hint = LengthThatFits();
    return plan;
  }

 private:
  std::string LengthThatFits() {
    const Plan longest = LongestOfAll();
    if (!longest.fits) {
      return fmt::format("no context of this model fits this {}: {} tokens need {}",
                         longest.memory.peak <= longest.limit ? "host" : "device",
                         longest.shape.seq, Want(longest));
    }
    return fmt::format("{} tokens are the most that fit, with --policy {} ({})", longest.shape.seq,
                       longest.policy, meter_.source());
  }

  // With the policies that take the least memory: of the device, and, where the host may be what is
  // short, of both.
  Plan LongestOfAll() {
    const std::vector<train::MemoryPolicy> all = meter_.PoliciesByMemory();
    Plan longest = LongestWith(all.back());
    const bool is_whole = longest.shape.seq == RangeOf(meter_.positions()).longest();
    if (!request_.host_limit || (longest.fits && is_whole)) return longest;
    const auto kept = std::ranges::find_if(all.rbegin(), all.rend(), [](const auto& policy) {
      return !policy.activations.offloads_inputs;
    });
    if (kept == all.rend()) return longest;
    Plan other = LongestWith(*kept);
    const auto reach = [](const Plan& plan) { return plan.fits ? plan.shape.seq : 0; };
    return reach(other) > reach(longest) ? other : longest;
  }

  // The policies that take the least memory say how far it goes; then the first that goes as far.
  // Where a whole compilation goes less far, once more.
  Plan ChooseForLongest() {
    const Plan longest = LongestOfAll();
    if (longest.fits) {
      if (const auto faster = FirstThatReaches(longest)) return *faster;
    }
    Plan plan = longest;
    if (request_.confirm) plan = Longest(train::MemoryPolicy::FromText(longest.policy), true);
    if (plan.fits && plan.shape.seq < longest.shape.seq) {
      if (const auto faster = FirstThatReaches(plan)) return *faster;
    }
    plan.reason = plan.policy == meter_.PoliciesByMemory().back().ToString()
                      ? "takes the least memory"
                      : "the host is too short for others";
    return plan;
  }

  // Of the policies before that of `longest`, the first that fits its length.
  std::optional<Plan> FirstThatReaches(const Plan& longest) {
    for (const train::MemoryPolicy& policy : policies()) {
      if (policy.ToString() == longest.policy) break;
      Plan plan = meter_.At(policy, longest.shape.seq, false);
      if (plan.fits && request_.confirm) plan = meter_.At(policy, longest.shape.seq, true);
      if (!plan.fits) continue;
      plan.reason = fmt::format("the first that fits {} tokens", plan.shape.seq);
      return plan;
    }
    return std::nullopt;
  }

  Plan Make(const train::MemoryPolicy& policy, bool confirm) {
    return request_.find_length ? Longest(policy, confirm)
                                : meter_.At(policy, meter_.length_asked(), confirm);
  }

  // Without whole compilations, which may take minutes all the same.
  Plan LongestWith(const train::MemoryPolicy& policy) {
    if (!std::exchange(has_searched_, true) && request_.on_search) request_.on_search();
    return Longest(policy, false);
  }

  Plan Longest(const train::MemoryPolicy& policy, bool confirm) {
    const SearchRange range = RangeOf(meter_.positions());
    const auto need = [&](int64_t length) { return meter_.NeedAt(policy, length); };
    std::optional<Plan> tried;
    const auto lacks = [&](int64_t length) -> int64_t {
      tried = meter_.At(policy, length, confirm);
      return tried->fits ? 0 : std::max<int64_t>(tried->memory.peak - need(length), 1);
    };
    LongestConfirmed(need, lacks, meter_.limit(), range);
    return tried ? *tried : meter_.At(policy, range.unit, false);
  }

  const PlanRequest& request_;
  StepMeter meter_;
  std::vector<train::MemoryPolicy> policies_;
  bool has_searched_ = false;
};

}  // namespace

Plan MakePlan(const PlanRequest& request) {
  Planner planner(request);
  if (!request.options.policy) return planner.Choose();
  return planner.WithHint(planner.Make(*request.options.policy));
}

std::vector<Plan> ComparePolicies(const PlanRequest& request) {
  Planner planner(request);
  std::vector<Plan> plans;
  for (const train::MemoryPolicy& policy : planner.policies())
    plans.push_back(planner.Make(policy));
  return plans;
}

}  // namespace sophia::plan
