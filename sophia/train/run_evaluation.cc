#include "sophia/train/run_evaluation.h"

#include <cmath>

#include "sophia/base/error.h"

namespace sophia::train {

Json EvaluationMetrics::ToJson() const {
  return {{"step", step},
          {"epoch", epoch},
          {"eval_loss", loss},
          {"eval_perplexity", perplexity},
          {"eval_runtime", seconds},
          {"eval_samples_per_second", seconds > 0 ? static_cast<double>(rows) / seconds : 0.0}};
}

std::string EvaluationMetrics::ToText() const {
  return fmt::format("evaluation at step {}: loss {:.4f}, perplexity {:.4g}{}", step, loss,
                     perplexity, is_best ? " (best)" : "");
}

RunEvaluation::RunEvaluation(TrainingRun& run, std::filesystem::path out, BestModel best)
    : run_(run),
      options_(run.options().eval),
      tracker_(options_, std::move(out), std::move(best)),
      epoch_(run.epochs()) {}

bool RunEvaluation::IsDue(const StepMetrics& step) const {
  if (options_.strategy == EvalStrategy::kNo) return false;
  if (step.step == run_.total_steps()) return true;
  if (options_.strategy == EvalStrategy::kSteps) return step.step % options_.steps == 0;
  return std::floor(step.epoch) > std::floor(epoch_);
}

std::optional<EvaluationMetrics> RunEvaluation::AfterStep(const StepMetrics& step) {
  const bool is_due = IsDue(step);
  epoch_ = step.epoch;
  if (!is_due) return std::nullopt;
  const EvaluationResult result = run_.Evaluate();
  EvaluationMetrics metrics{.step = step.step,
                            .epoch = step.epoch,
                            .loss = result.loss(),
                            .perplexity = result.perplexity(),
                            .rows = result.rows.size(),
                            .seconds = result.seconds};
  if (!std::isfinite(metrics.loss)) return metrics;
  const bool by_loss = options_.metric == EvalMetric::kLoss;
  metrics.is_best = tracker_.Add(step.step, by_loss ? metrics.loss : metrics.perplexity);
  return metrics;
}

}  // namespace sophia::train
