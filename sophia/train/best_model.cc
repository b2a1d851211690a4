#include "sophia/train/best_model.h"

#include <cmath>

#include "sophia/train/checkpoint.h"

namespace sophia::train {
namespace {

constexpr const char* kCallback = "EarlyStoppingCallback";
constexpr const char* kCounter = "early_stopping_patience_counter";

Json OrNull(bool has, const Json& value) { return has ? value : Json(nullptr); }

}  // namespace

Json ToTrainerState(const BestModel& best, const EvalOptions& options) {
  Json state = {
      {"best_global_step", OrNull(best.metric.has_value(), best.step)},
      {"best_metric", OrNull(best.metric.has_value(), best.metric.value_or(0))},
      {"best_model_checkpoint", OrNull(!best.checkpoint.empty(), best.checkpoint.string())},
      {"stateful_callbacks", Json::object()}};
  if (options.patience == 0) return state;
  state["stateful_callbacks"][kCallback] = {{"args",
                                             {{"early_stopping_patience", options.patience},
                                              {"early_stopping_threshold", options.threshold}}},
                                            {"attributes", {{kCounter, best.evaluations_since}}}};
  return state;
}

BestModel BestFromTrainerState(const Json& state, std::string_view where) {
  BestModel best;
  best.metric = Find<double>(state, "best_metric", where);
  best.step = FindOr<int64_t>(state, "best_global_step", 0, where);
  best.checkpoint = FindOr<std::string>(state, "best_model_checkpoint", "", where);
  const Json::json_pointer counter(
      fmt::format("/stateful_callbacks/{}/attributes/{}", kCallback, kCounter));
  if (state.contains(counter) && state[counter].is_number_integer()) {
    best.evaluations_since = state[counter].get<int64_t>();
  }
  return best;
}

BestModelTracker::BestModelTracker(const EvalOptions& options, std::filesystem::path out,
                                   BestModel best)
    : options_(options), out_(std::move(out)), best_(std::move(best)) {}

bool BestModelTracker::Add(int64_t step, double metric) {
  const bool is_best = !best_.metric || (options_.greater_is_better ? metric > *best_.metric
                                                                    : metric < *best_.metric);
  const bool improves =
      is_best && (!best_.metric || std::abs(metric - *best_.metric) > options_.threshold);
  best_.evaluations_since = improves ? 0 : best_.evaluations_since + 1;
  if (!is_best) return false;
  best_.metric = metric;
  best_.step = step;
  best_.checkpoint = out_.empty() ? std::filesystem::path() : CheckpointAt(out_, step).path;
  return true;
}

bool BestModelTracker::should_stop() const {
  return options_.patience > 0 && best_.evaluations_since >= options_.patience;
}

}  // namespace sophia::train
