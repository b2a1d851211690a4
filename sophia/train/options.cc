#include "sophia/train/options.h"

#include <utility>

#include "sophia/base/error.h"
#include "sophia/nn/isomorphism.h"

namespace sophia::train {
namespace {

// Nothing of what has no part in the run, so that checkpoints of runs without evaluation stay what
// they are.
Json EvalJson(const EvalOptions& eval) {
  Json json = Json::object();
  if (eval.split > 0) json["eval_split"] = eval.split;
  if (eval.strategy == EvalStrategy::kNo) return json;
  json["eval_strategy"] = kEvalStrategyNames[static_cast<size_t>(eval.strategy)];
  json["eval_steps"] = eval.steps;
  json["per_device_eval_batch_size"] = eval.batch;
  json["metric_for_best_model"] = kEvalMetricNames[static_cast<size_t>(eval.metric)];
  json["greater_is_better"] = eval.greater_is_better;
  json["early_stopping_patience"] = eval.patience;
  json["early_stopping_threshold"] = eval.threshold;
  return json;
}

}  // namespace

void TrainOptions::Check() const {
  const auto at_least = [](const char* name, auto value, auto lowest) {
    if (!(value >= lowest)) {
      Fail(name, "expected a value of at least {}, got {}", lowest, value);
    }
  };
  at_least("learning_rate", learning_rate, 0.0);
  if (!(loraplus_lr_ratio > 0)) {
    Fail("loraplus_lr_ratio", "expected a value above 0, got {}", loraplus_lr_ratio);
  }
  at_least("warmup_steps", warmup_steps, int64_t{0});
  at_least("weight_decay", weight_decay, 0.0);
  at_least("max_grad_norm", max_grad_norm, 0.0);
  at_least("adam_epsilon", adam.eps, 0.0);
  for (const auto& [name, beta] : {std::pair("adam_beta1", adam.b1), {"adam_beta2", adam.b2}}) {
    if (!(beta >= 0 && beta < 1)) {
      Fail(name, "expected a value of at least 0 and below 1, got {}", beta);
    }
  }
  at_least("per_device_train_batch_size", batch, int64_t{1});
  at_least("gradient_accumulation_steps", gradient_accumulation_steps, int64_t{1});
  at_least("max_length", max_length, int64_t{2});
  if (max_steps == 0 || max_steps < -1) {
    Fail("max_steps", "expected a value above 0, or -1 for whole epochs, got {}", max_steps);
  }
  if (max_steps < 0 && !(num_train_epochs > 0)) {
    Fail("num_train_epochs", "expected a value above 0, got {}", num_train_epochs);
  }
  if (seed >> 32 != 0) Fail("seed", "expected a value below 2^32, got {}", seed);
  if (!data_weights.empty() && data_weights.size() != data.size()) {
    Fail("data_weights", "expected one for each of the data ({}), got {}", data.size(),
         data_weights.size());
  }
  if (streaming && max_steps < 0) {
    Fail("streaming", "expected max_steps beside it, as the steps of an epoch are not known");
  }
  if (dtype != DType::kF32 && dtype != DType::kBF16) {
    Fail("dtype", "expected f32 or bf16, got {}", Name(dtype));
  }
  lora.Check("lora");
  if (isomorphism) {
    at_least("language_weight", isomorphism->term.language_weight, 0.0);
    at_least("isomorphism_weight", isomorphism->term.weight, 0.0);
    at_least("isomorphism_tokens", isomorphism->term.tokens, nn::kLeastTokens);
  }
  OptimizerOf(*this);
  optim::Validate(ScheduleOf(*this, 1));
  at_least("eval_steps", eval.steps, int64_t{1});
  at_least("per_device_eval_batch_size", eval.batch, int64_t{1});
  at_least("early_stopping_patience", eval.patience, int64_t{0});
  at_least("early_stopping_threshold", eval.threshold, 0.0);
  if (!(eval.split >= 0 && eval.split < 1)) {
    Fail("eval_split", "expected a value of at least 0 and below 1, got {}", eval.split);
  }
  if (eval.split > 0 && !eval.data.empty()) {
    Fail("eval_split", "expected eval_data or eval_split, got both");
  }
}

Json TrainOptions::ToJson() const {
  Json targets;
  std::visit([&](const auto& given) { targets = given; }, lora.targets);
  Json json = {{"dtype", Name(dtype)},
               {"quant", quant},
               {"kernels", kernels ? Name(*kernels) : "auto"},
               {"lora_r", lora.rank},
               {"lora_alpha", lora.alpha},
               {"lora_dropout", lora.dropout},
               {"lora_target_modules", targets},
               {"use_rslora", lora.rs_lora},
               {"optim", Info(optimizer).name},
               {"learning_rate", learning_rate},
               {"lr_scheduler_type", Name(lr_scheduler)},
               {"warmup_steps", warmup_steps},
               {"weight_decay", weight_decay},
               {"max_grad_norm", max_grad_norm},
               {"adam_beta1", adam.b1},
               {"adam_beta2", adam.b2},
               {"adam_epsilon", adam.eps},
               {"max_steps", max_steps},
               {"num_train_epochs", num_train_epochs},
               {"per_device_train_batch_size", batch},
               {"gradient_accumulation_steps", gradient_accumulation_steps},
               {"max_length", max_length},
               {"data_weights", data_weights},
               {"streaming", streaming},
               {"packing", packing},
               {"shuffle", shuffle},
               {"seed", seed},
               {"policy", policy ? policy->ToString() : std::string(kAutoPolicy)}};
  if (lora.init == lora::LoraInit::kPissa) json["init_lora_weights"] = lora.InitName();
  if (lora.use_dora) json["use_dora"] = true;
  if (!lora.rank_pattern.empty()) {
    json["lora_rank_pattern"] = lora::PatternsJson(lora.rank_pattern);
  }
  if (!lora.alpha_pattern.empty()) {
    json["lora_alpha_pattern"] = lora::PatternsJson(lora.alpha_pattern);
  }
  if (!lora.modules_to_save.empty()) json["lora_modules_to_save"] = lora.modules_to_save;
  if (loraplus_lr_ratio != 1) json["loraplus_lr_ratio"] = loraplus_lr_ratio;
  if (const std::string arguments = ToText(optimizer, optimizer_arguments); !arguments.empty()) {
    json["optim_args"] = arguments;
  }
  if (isomorphism) {
    json["objective"] = "isomorphism";
    if (!isomorphism->IsPath()) json["teacher"] = isomorphism->teacher;
    json["isomorphism_weight"] = isomorphism->term.weight;
    json["language_weight"] = isomorphism->term.language_weight;
    json["isomorphism_tokens"] = isomorphism->term.tokens;
  }
  json.update(EvalJson(eval));
  return json;
}

optim::Schedule ScheduleOf(const TrainOptions& options, int64_t total_steps) {
  optim::ScheduleKind kind = options.lr_scheduler;
  if (kind == optim::ScheduleKind::kConstant && options.warmup_steps > 0) {
    kind = optim::ScheduleKind::kConstantWithWarmup;
  }
  return {.kind = kind,
          .learning_rate = options.learning_rate,
          .warmup_steps = options.warmup_steps,
          .total_steps = total_steps};
}

optim::Transform OptimizerOf(const TrainOptions& options, const kernels::KernelTarget& target) {
  return MakeOptimizer(
      {.kind = options.optimizer, .adam = options.adam, .arguments = options.optimizer_arguments},
      {.weight_decay = options.weight_decay, .max_grad_norm = options.max_grad_norm}, target);
}

}  // namespace sophia::train
