#include "sophia/train/setup.h"

#include "sophia/base/error.h"
#include "sophia/lora/peft.h"
#include "sophia/models/quant_rule.h"

namespace sophia::train {
namespace {

// Some rules look at whole matrices, which are padded where layers differ in rank.
void CheckOptimizer(const TrainOptions& options, const std::vector<nn::ParamSpec>& specs) {
  if (options.optimizer != OptimizerKind::kAdafactor && options.optimizer != OptimizerKind::kMuon) {
    return;
  }
  for (const nn::ParamSpec& spec : specs) {
    if (spec.layer_dims.empty()) continue;
    Fail("optim",
         "expected one rank in all layers for {}, got a rank_pattern that tells those of {} apart",
         Info(options.optimizer).name, spec.path);
  }
}

}  // namespace

std::unique_ptr<models::ModelPlan> BuildModel(const TrainOptions& options,
                                              const models::ModelFiles& files) {
  auto policy = std::make_unique<lora::LoraPolicy>(options.dtype, options.lora);
  const lora::LoraPolicy& lora_policy = *policy;
  auto plan = models::BuildPlan(files, std::move(policy), options.quant);
  lora_policy.CheckTargets();
  if (options.init_adapter.empty()) {
    lora_policy.CheckPatterns();
  } else {
    lora::CheckAdapter(options.init_adapter, plan->specs());
  }
  CheckOptimizer(options, plan->specs());
  return plan;
}

TextEncoder EncoderFor(const models::ModelFiles& files, int64_t vocab) {
  try {
    return TextEncoder::ForTokenizer(files.LoadTokenizer(), vocab);
  } catch (const Error&) {
    if (files.HasTokenizer()) throw;
    return {.vocab = vocab};
  }
}

StepOptions StepOptionsOf(const TrainOptions& options, const BatchShape& shape,
                          const kernels::KernelTarget& target, const Teacher* teacher) {
  return {
      .shape = shape,
      .optimizer = OptimizerOf(options, target),
      .schedule = ScheduleOf(options, 0).kind,
      .loraplus_lr_ratio = options.loraplus_lr_ratio,
      .policy = options.policy.value_or(MemoryPolicy()),
      .isomorphism = options.isomorphism ? std::optional(options.isomorphism->term) : std::nullopt,
      .teacher = teacher};
}

}  // namespace sophia::train
