#include "sophia/plan/step_meter.h"

#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/lora/peft.h"
#include "sophia/models/kernel_choice.h"
#include "sophia/pallas/work_estimate.h"
#include "sophia/plan/live_bytes.h"
#include "sophia/train/policy_order.h"
#include "sophia/train/setup.h"
#include "sophia/train/training_data.h"

namespace sophia::plan {

StepMeter::StepMeter(const PlanRequest& request)
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

int64_t StepMeter::positions() const {
  const int64_t own = sizes().max_positions;
  return teacher_ ? std::min(own, teacher_->plan().model->sizes().max_positions) : own;
}

int64_t StepMeter::length_asked() const {
  return request_.find_length ? positions() : options_.max_length;
}

void StepMeter::CheckLength() const {
  if (length_asked() <= positions()) return;
  Fail("max_length", "expected at most the {}'s {} positions, got {}",
       positions() < sizes().max_positions ? "teacher" : "model", positions(), length_asked());
}

const char* StepMeter::source() const {
  if (!has_compiler()) return "by the formula";
  return is_tpu() ? "by the early check" : "by compiling";
}

std::vector<train::MemoryPolicy> StepMeter::PoliciesByTime() const {
  return train::PoliciesByTime(*model_, OptionsAt(length_asked()), is_tpu());
}

std::vector<train::MemoryPolicy> StepMeter::PoliciesByMemory() const {
  return train::PoliciesToTry(sizes(), length_asked(), is_tpu());
}

train::BatchShape StepMeter::ShapeOf(int64_t length) const {
  if (shape_of_data_ && shape_of_data_->seq == length) return *shape_of_data_;
  return train::FullShape(length, train::BatchOptionsOf(options_));
}

train::StepOptions StepMeter::OptionsAt(int64_t length) const {
  return train::StepOptionsOf(options_, ShapeOf(length), model_->policy->kernels(),
                              teacher_ ? &*teacher_ : nullptr);
}

train::StepProgram StepMeter::Trace(const train::MemoryPolicy& policy, int64_t length) const {
  train::StepOptions options = OptionsAt(length);
  options.policy = policy;
  return train::TraceStep(*model_, options);
}

// The compiler saves what it can where it is given next to nothing.
int64_t StepMeter::LeastNeed(const Graph& graph) const {
  if (!has_compiler()) return LiveBytes(graph);
  return EarlyNeed(request_.target, graph, 0).value_or(0);
}

// What cannot fit the host is not worth a compiler's time.
int64_t StepMeter::MeasureNeedAt(const train::MemoryPolicy& policy, int64_t length) const {
  const train::StepProgram step = Trace(policy, length);
  if (!is_tpu()) return MeasureRunOnCpu(*step.graph, false).need;
  int64_t of_host = 0;
  if (request_.host_limit) {
    const int64_t host = HostNeed({}, CountMemory(*model_, step).saved_on_host);
    of_host =
        static_cast<int64_t>(static_cast<double>(host) / static_cast<double>(*request_.host_limit) *
                             static_cast<double>(limit_));
  }
  return of_host > limit_ ? of_host : std::max(of_host, LeastNeed(*step.graph));
}

int64_t StepMeter::NeedAt(const train::MemoryPolicy& policy, int64_t length) {
  const auto [it, is_new] = needs_.try_emplace({policy.ToString(), length}, 0);
  if (is_new) it->second = MeasureNeedAt(policy, length);
  return it->second;
}

// The compiler's, or that of the weights on their way and of what the run keeps there.
int64_t StepMeter::HostNeed(const Measurement& measured, int64_t saved) const {
  const int64_t offloaded = std::max(measured.offloaded, saved);
  int64_t largest = LargestParameter(*model_);
  if (teacher_) largest = std::max(largest, LargestParameter(teacher_->plan()));
  return std::max(measured.compiler_bytes, offloaded + largest);
}

// Near the limit the compiler trades time for memory, and at the real limit the early check would
// go on compiling where the program fits. So the second question is just below the first answer.
Measurement StepMeter::MeasureOnTpu(const Graph& graph, bool confirm) const {
  const int64_t least = LeastNeed(graph);
  if (!has_compiler()) return {.fits = least <= limit_, .need = least};
  if (confirm && least <= limit_) return CompileForTpu(request_.target, graph, cache());
  const int64_t below = std::min(limit_, least - least / 20);
  const int64_t need = EarlyNeed(request_.target, graph, below).value_or(least);
  return {.fits = need <= limit_, .need = need};
}

// A run holds its tokenizer too, and the measuring process is a copy of this one.
Measurement StepMeter::MeasureRunOnCpu(const Graph& graph, bool run) const {
  std::optional<io::Tokenizer> tokenizer;
  if (files_.HasTokenizer()) tokenizer = files_.LoadTokenizer();
  return MeasureOnCpu(request_.target, graph, limit_, run, cache());
}

Plan StepMeter::At(const train::MemoryPolicy& policy, int64_t length, bool confirm) const {
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

}  // namespace sophia::plan
