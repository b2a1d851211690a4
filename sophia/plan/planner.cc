#include "sophia/plan/planner.h"

#include <algorithm>
#include <map>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/lora/peft.h"
#include "sophia/models/kernel_choice.h"
#include "sophia/pallas/work_estimate.h"
#include "sophia/plan/live_bytes.h"
#include "sophia/plan/search.h"
#include "sophia/train/policy_order.h"
#include "sophia/train/setup.h"
#include "sophia/train/training_data.h"

namespace sophia::plan {
namespace {

SearchRange RangeOf(int64_t positions) {
  const int64_t unit = std::min(positions, std::max<int64_t>(128, positions / 128));
  return {.unit = unit, .most = positions};
}

class Planner {
 public:
  explicit Planner(const PlanRequest& request)
      : request_(request),
        options_(request.options),
        files_(models::ModelFiles::OpenConfig(options_.model)) {
    if (!options_.init_adapter.empty())
      options_.lora = lora::ReadAdapterConfig(options_.init_adapter);
    options_.Check();
    model_ = train::BuildModel(options_, files_);
    model_->policy->set_kernels(models::KernelsFor(request.target.chip, options_.kernels));
    if (options_.isomorphism) teacher_.emplace(options_, files_, *model_);
    limit_ = MemoryLimit(request_.target);
    if (!request_.find_length && !options_.data.empty()) {
      shape_of_data_ = train::OpenData(options_, train::EncoderFor(files_, sizes().vocab)).shape;
      options_.max_length = shape_of_data_->seq;
    }
  }

  // The fastest first.
  const std::vector<train::MemoryPolicy>& policies() {
    if (policies_.empty())
      policies_ = train::PoliciesByTime(*model_, StepOptionsAt(length_asked()), is_tpu());
    return policies_;
  }

  // Of the policies that fit, the first.
  Plan Choose() {
    if (request_.find_length) return ChooseForLongest();
    std::string before;
    Plan plan;
    for (const train::MemoryPolicy& policy : policies()) {
      plan = Make(policy, request_.confirm && !is_tpu());
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
      if (NeedAt(policy, options_.max_length) > limit_) continue;
      const Plan longest = LongestWith(train::MemoryPolicy::FromText(plan.policy));
      plan.hint = fmt::format("--policy {} fits; with {} {} ({})", policy.ToString(), plan.policy,
                              longest.fits
                                  ? fmt::format("{} tokens are the most that do", longest.shape.seq)
                                  : "no context does",
                              how_hints_know());
      return plan;
    }
    plan.hint = LengthThatFits();
    return plan;
  }

 private:
  const models::ModelSizes& sizes() const { return model_->model->sizes(); }
  // That the model and its teacher know.
  int64_t positions() const {
    const int64_t own = sizes().max_positions;
    return teacher_ ? std::min(own, teacher_->plan().model->sizes().max_positions) : own;
  }

  int64_t length_asked() const { return request_.find_length ? positions() : options_.max_length; }
  // The last takes the least of the device's.
  std::vector<train::MemoryPolicy> PoliciesByMemory() const {
    return train::PoliciesToTry(sizes(), length_asked(), is_tpu());
  }

  // What a plan that does not fit needs of what is short.
  static std::string Want(const Plan& plan) {
    const bool is_host = !plan.host_fits() && plan.memory.peak <= plan.limit;
    return HumanBytes(is_host ? plan.host : plan.memory.peak) + (is_host ? " of the host" : "");
  }

  const char* how_hints_know() const {
    if (!has_compiler()) return "by the formula";
    return is_tpu() ? "by the early check" : "by compiling";
  }

  std::string LengthThatFits() {
    const Plan longest = LongestOfAll();
    if (!longest.fits) {
      return fmt::format("no context of this model fits this {}: {} tokens need {}",
                         longest.memory.peak <= longest.limit ? "host" : "device",
                         longest.shape.seq, Want(longest));
    }
    return fmt::format("{} tokens are the most that fit, with --policy {} ({})", longest.shape.seq,
                       longest.policy, how_hints_know());
  }

  // By the early check, with the policies that take the least memory: of the device, and, where the
  // host may be what is short, of both.
  Plan LongestOfAll() {
    const std::vector<train::MemoryPolicy> all = PoliciesByMemory();
    Plan longest = LongestWith(all.back());
    const bool is_whole = longest.shape.seq == RangeOf(positions()).longest();
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
    plan.reason = plan.policy == PoliciesByMemory().back().ToString()
                      ? "takes the least memory"
                      : "the host is too short for others";
    return plan;
  }

  // Of the policies before that of `longest`, the first that fits its length.
  std::optional<Plan> FirstThatReaches(const Plan& longest) {
    for (const train::MemoryPolicy& policy : policies()) {
      if (policy.ToString() == longest.policy) break;
      Plan plan = At(policy, longest.shape.seq, false);
      if (plan.fits && request_.confirm) plan = At(policy, longest.shape.seq, true);
      if (!plan.fits) continue;
      plan.reason = fmt::format("the first that fits {} tokens", plan.shape.seq);
      return plan;
    }
    return std::nullopt;
  }

  Plan Make(const train::MemoryPolicy& policy, bool confirm) {
    if (request_.find_length) return Longest(policy, confirm);
    if (options_.max_length > positions()) {
      Fail("max_length", "expected at most the {}'s {} positions, got {}",
           positions() < sizes().max_positions ? "teacher" : "model", positions(),
           options_.max_length);
    }
    return At(policy, options_.max_length, confirm);
  }

  bool is_tpu() const { return request_.target.is_tpu(); }
  const CompileCache* cache() const { return request_.save ? &*request_.save : nullptr; }
  bool has_compiler() const { return request_.target.plugin.has_value(); }

  train::BatchShape ShapeOf(int64_t length) const {
    if (shape_of_data_ && shape_of_data_->seq == length) return *shape_of_data_;
    return train::FullShape(length, train::BatchOptionsOf(options_));
  }
  train::StepOptions StepOptionsAt(int64_t length) const {
    return train::StepOptionsOf(options_, ShapeOf(length), model_->policy->kernels(),
                                teacher_ ? &*teacher_ : nullptr);
  }
  train::StepProgram Trace(const train::MemoryPolicy& policy, int64_t length) const {
    train::StepOptions options = StepOptionsAt(length);
    options.policy = policy;
    return train::TraceStep(*model_, options);
  }

  // The compiler saves what it can where it is given next to nothing.
  int64_t LeastNeed(const Graph& graph) const {
    if (!has_compiler()) return LiveBytes(graph);
    return EarlyNeed(request_.target, graph, 0).value_or(0);
  }
  // Of the device; where the host is shorter of memory, as much more. What cannot fit the host is
  // not worth a compiler's time.
  int64_t MeasureNeedAt(const train::MemoryPolicy& policy, int64_t length) const {
    const train::StepProgram step = Trace(policy, length);
    if (!is_tpu()) return MeasureRunOnCpu(*step.graph, false).need;
    int64_t of_host = 0;
    if (request_.host_limit) {
      const int64_t host = HostNeed({}, CountMemory(*model_, step).saved_on_host);
      of_host = static_cast<int64_t>(static_cast<double>(host) /
                                     static_cast<double>(*request_.host_limit) *
                                     static_cast<double>(limit_));
    }
    return of_host > limit_ ? of_host : std::max(of_host, LeastNeed(*step.graph));
  }
  int64_t NeedAt(const train::MemoryPolicy& policy, int64_t length) {
    const auto [it, is_new] = needs_.try_emplace({policy.ToString(), length}, 0);
    if (is_new) it->second = MeasureNeedAt(policy, length);
    return it->second;
  }

  // The compiler's, or that of the weights on their way and of what the run keeps there.
  int64_t HostNeed(const Measurement& measured, int64_t saved) const {
    const int64_t offloaded = std::max(measured.offloaded, saved);
    int64_t largest = LargestParameter(*model_);
    if (teacher_) largest = std::max(largest, LargestParameter(teacher_->plan()));
    return std::max(measured.compiler_bytes, offloaded + largest);
  }

  // Near the limit the compiler trades time for memory, and at the real limit the early check would
  // go on compiling where the program fits. So the second question is just below the first answer.
  Measurement MeasureOnTpu(const Graph& graph, bool confirm) const {
    const int64_t least = LeastNeed(graph);
    if (!has_compiler()) return {.fits = least <= limit_, .need = least};
    if (confirm && least <= limit_) return CompileForTpu(request_.target, graph, cache());
    const int64_t below = std::min(limit_, least - least / 20);
    const int64_t need = EarlyNeed(request_.target, graph, below).value_or(least);
    return {.fits = need <= limit_, .need = need};
  }

  // A run holds its tokenizer too, and the measuring process is a copy of this one.
  Measurement MeasureRunOnCpu(const Graph& graph, bool run) const {
    std::optional<io::Tokenizer> tokenizer;
    if (files_.HasTokenizer()) tokenizer = files_.LoadTokenizer();
    return MeasureOnCpu(request_.target, graph, limit_, run, cache());
  }

  Plan At(const train::MemoryPolicy& policy, int64_t length, bool confirm) const {
    const train::StepProgram step = Trace(policy, length);
    Plan plan{.target = request_.target.name,
              .shape = ShapeOf(length),
              .policy = policy.ToString(),
              .by_formula = !has_compiler(),
              .memory = CountMemory(*model_, step),
              .limit = limit_};
    const Measurement measured =
        is_tpu() ? MeasureOnTpu(*step.graph, confirm) : MeasureRunOnCpu(*step.graph, confirm);
    plan.fits = measured.fits;
    plan.confirmed = measured.complete;
    plan.compiler = measured.compiler;
    plan.compile_seconds = measured.seconds;
    plan.memory.SetPeak(measured.need);
    plan.host = is_tpu() ? HostNeed(measured, plan.memory.saved_on_host) : plan.memory.peak;
    plan.host_limit = request_.host_limit;
    plan.fits = plan.fits && plan.host_fits();
    plan.step_seconds = measured.step_seconds;
    if (request_.target.chip) {
      const pallas::ChipInfo& chip = pallas::Info(*request_.target.chip);
      const pallas::WorkEstimate work = pallas::EstimateWork(*step.graph, chip);
      plan.has_cycles = measured.cycles > 0;
      plan.step_seconds = pallas::StepSeconds(
          plan.has_cycles ? measured.cycles / chip.clock + work.kernel_seconds : work.seconds, work,
          chip, policy.activations.prefetches_inputs);
    }
    return plan;
  }

  // By the early check, which may take minutes.
  Plan LongestWith(const train::MemoryPolicy& policy) {
    if (!std::exchange(has_searched_, true) && request_.on_search) request_.on_search();
    return Longest(policy, false);
  }

  Plan Longest(const train::MemoryPolicy& policy, bool confirm) {
    const SearchRange range = RangeOf(positions());
    const auto need = [&](int64_t length) { return NeedAt(policy, length); };
    std::optional<Plan> tried;
    const auto lacks = [&](int64_t length) -> int64_t {
      tried = At(policy, length, confirm);
      return tried->fits ? 0 : std::max<int64_t>(tried->memory.peak - need(length), 1);
    };
    LongestConfirmed(need, lacks, limit_, range);
    return tried ? *tried : At(policy, range.unit, false);
  }

  const PlanRequest& request_;
  train::TrainOptions options_;
  models::ModelFiles files_;
  std::unique_ptr<models::ModelPlan> model_;
  std::optional<train::Teacher> teacher_;
  std::optional<train::BatchShape> shape_of_data_;
  std::vector<train::MemoryPolicy> policies_;
  int64_t limit_ = 0;
  bool has_searched_ = false;
  std::map<std::pair<std::string, int64_t>, int64_t> needs_;  // by policy and length
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
