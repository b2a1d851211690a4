#include "sophia/plan/planner.h"

#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/lora/peft.h"
#include "sophia/models/kernel_choice.h"
#include "sophia/pallas/work_estimate.h"
#include "sophia/train/setup.h"
#include "sophia/train/training_data.h"

namespace sophia::plan {
namespace {

// A run's length only moves the learning rate.
constexpr int64_t kSteps = 1000;

// The early check at the real limit would go on compiling where the program fits. So it is asked
// with next to nothing first, where the compiler saves what it can, and then just below the answer.
Measurement CheckEarly(const Target& target, const Graph& graph, int64_t limit) {
  const int64_t least = EarlyNeed(target, graph, 0).value_or(0);
  const int64_t below = std::min(limit, least - least / 20);
  const int64_t need = EarlyNeed(target, graph, below).value_or(least);
  return {.fits = need <= limit, .need = need};
}

// A run holds its tokenizer too, and the measuring process is a copy of this one.
Measurement MeasureRunOnCpu(const PlanRequest& request, const models::ModelFiles& files,
                            const Graph& graph) {
  std::optional<io::Tokenizer> tokenizer;
  if (files.HasTokenizer()) tokenizer = files.LoadTokenizer();
  return MeasureOnCpu(request.target, graph, request.confirm);
}

Measurement MeasureOnTpu(const PlanRequest& request, const Graph& graph, int64_t limit) {
  const Measurement early = CheckEarly(request.target, graph, limit);
  const bool is_hopeless = early.need > limit + limit / 10;
  return request.confirm && !is_hopeless ? CompileForTpu(request.target, graph) : early;
}

}  // namespace

Plan MakePlan(const PlanRequest& request) {
  train::TrainOptions options = request.options;
  const models::ModelFiles files = models::ModelFiles::OpenConfig(options.model);
  if (!options.init_adapter.empty()) options.lora = lora::ReadAdapterConfig(options.init_adapter);
  options.Check();
  const auto model = train::BuildModel(options, files);
  model->policy->set_kernels(models::KernelsFor(request.target.chip, options.kernels));
  const int64_t positions = model->model->sizes().max_positions;
  if (options.max_length > positions) {
    Fail("max_length", "expected at most the model's {} positions, got {}", positions,
         options.max_length);
  }
  const train::BatchShape shape =
      train::FullShape(options.max_length, train::BatchOptionsOf(options));
  const train::StepProgram step = train::TraceStep(
      *model, train::StepOptionsOf(options, shape, kSteps, model->policy->kernels()));
  Plan plan{.target = request.target.name,
            .shape = shape,
            .policy = options.gradient_checkpointing ? "layers" : "products",
            .memory = CountMemory(*model, step),
            .limit = MemoryLimit(request.target)};
  const Measurement measured = request.target.is_tpu()
                                   ? MeasureOnTpu(request, *step.graph, plan.limit)
                                   : MeasureRunOnCpu(request, files, *step.graph);
  plan.fits = measured.fits;
  plan.confirmed = measured.complete;
  plan.compiler = measured.compiler;
  plan.compile_seconds = measured.seconds;
  MemoryTable& memory = plan.memory;
  memory.peak = measured.need;
  // Small activations stay on the chip.
  const int64_t rest =
      memory.peak - memory.weights - memory.adapters - memory.optimizer - memory.batch;
  memory.saved = std::clamp<int64_t>(rest, 0, memory.saved);
  memory.temporaries = rest - memory.saved;
  plan.host = request.target.is_tpu()
                  ? std::max(measured.compiler_bytes, measured.offloaded + LargestParameter(*model))
                  : memory.peak;
  plan.step_seconds = measured.step_seconds;
  if (request.target.chip) {
    const pallas::ChipInfo& chip = pallas::Info(*request.target.chip);
    plan.step_seconds = pallas::EstimateWork(*step.graph, chip).seconds;
  }
  return plan;
}

}  // namespace sophia::plan
