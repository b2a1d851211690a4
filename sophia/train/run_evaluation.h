#pragma once

#include <optional>
#include <string>

#include "sophia/train/best_model.h"
#include "sophia/train/run.h"

namespace sophia::train {

// What one evaluation of a run gave.
struct EvaluationMetrics {
  int64_t step = 0;
  double epoch = 0;
  double loss = 0;  // EvaluationResult::loss
  double perplexity = 0;
  size_t rows = 0;
  double seconds = 0;
  bool is_best = false;

  // A line of metrics.jsonl, by the names of transformers' Trainer.
  Json ToJson() const;
  // "evaluation at step 40: loss 1.2345, perplexity 3.44 (best)".
  std::string ToText() const;
};

// Evaluates a run when that is due and keeps its best.
class RunEvaluation {
 public:
  // `run` must live longer. `out`: where the best are saved, see BestModelTracker.
  RunEvaluation(TrainingRun& run, std::filesystem::path out, BestModel best);

  // After a step; nullopt when none is due. A result that is not finite is never the best.
  std::optional<EvaluationMetrics> AfterStep(const StepMetrics& step);
  bool should_stop() const { return tracker_.should_stop(); }
  const BestModel& best() const { return tracker_.best(); }

 private:
  bool IsDue(const StepMetrics& step) const;

  TrainingRun& run_;
  const EvalOptions& options_;
  BestModelTracker tracker_;
  double epoch_;  // before the next step
};

}  // namespace sophia::train
