#include "sophia/cli/eval_options.h"

#include <fmt/format.h>

#include <algorithm>

namespace sophia::cli {
namespace {

train::EvalMetric MetricNamed(const std::string& name) {
  return name.ends_with("loss") ? train::EvalMetric::kLoss : train::EvalMetric::kPerplexity;
}

train::EvalStrategy StrategyNamed(const std::string& name) {
  const auto* found = std::ranges::find(train::kEvalStrategyNames, name);
  return static_cast<train::EvalStrategy>(found - train::kEvalStrategyNames.begin());
}

}  // namespace

train::EvalOptions EvalOptionsFrom(const Values& values) {
  const std::vector<std::string> data = values.Texts("eval_data");
  train::EvalOptions eval{.data = {data.begin(), data.end()},
                          .split = values.Number("eval_split"),
                          .strategy = StrategyNamed(values.Text("eval_strategy")),
                          .steps = values.Integer("eval_steps"),
                          .batch = values.Integer("per_device_eval_batch_size"),
                          .metric = MetricNamed(values.Text("metric_for_best_model")),
                          .greater_is_better = values.Flag("greater_is_better"),
                          .load_best = values.Flag("load_best_model_at_end"),
                          .patience = values.Integer("early_stopping_patience"),
                          .threshold = values.Number("early_stopping_threshold")};
  if (eval.split > 0 && !eval.data.empty()) {
    throw UsageError("expected --eval-data or --eval-split, got both");
  }
  const bool follows = eval.load_best || eval.patience > 0;
  if (follows && eval.strategy == train::EvalStrategy::kNo) {
    throw UsageError(
        fmt::format("expected --eval-strategy steps or epoch beside --{}, got no",
                    eval.load_best ? "load-best-model-at-end" : "early-stopping-patience"));
  }
  eval.needs_rows = follows || values.Has("eval_strategy") || values.Has("eval_steps");
  return eval;
}

}  // namespace sophia::cli
