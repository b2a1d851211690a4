// Decisions against transformers' Trainer: tests/fixtures/evaluation/best_model.json.
#include "sophia/train/best_model.h"

#include <gmock/gmock.h>

#include "sophia/base/error.h"
#include "sophia/base/file.h"

namespace sophia::train {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

EvalOptions OptionsOf(const Json& run) {
  return {.greater_is_better = run["greater_is_better"],
          .patience = run["early_stopping_patience"],
          .threshold = run["early_stopping_threshold"]};
}

TEST(BestModelTest, DecidesAsTransformers) {
  for (const Json& run : ReadJson(SOPHIA_SOURCE_DIR "/tests/fixtures/evaluation/best_model.json")) {
    SCOPED_TRACE(run["name"].get<std::string>());
    const EvalOptions options = OptionsOf(run);
    BestModel best;
    const Json& after = run["after"];
    for (size_t i = 0; i < after.size(); ++i) {
      // Each evaluation continues what a checkpoint has kept.
      BestModelTracker tracker(options, "out", best);
      const auto step = static_cast<int64_t>(i) + 1;
      const bool is_best = tracker.Add(step, run["metrics"][i]);
      best = BestFromTrainerState(ToTrainerState(tracker.best(), options), "state");
      EXPECT_EQ(is_best, after[i]["best_global_step"] == step);
      EXPECT_EQ(best.step, after[i]["best_global_step"].get<int64_t>());
      EXPECT_EQ(best.metric, after[i]["best_metric"].get<double>());
      EXPECT_EQ(best.evaluations_since, after[i]["counter"].get<int64_t>());
      EXPECT_EQ(best.checkpoint, fmt::format("out/checkpoint-{}", best.step));
      const bool is_last = i + 1 == after.size() && after.size() < run["metrics"].size();
      EXPECT_EQ(tracker.should_stop(), is_last || best.evaluations_since == options.patience);
    }
  }
}

TEST(BestModelTest, KeepsNoCheckpointWithoutAFolder) {
  BestModelTracker tracker({}, "");
  EXPECT_TRUE(tracker.Add(3, 0.1));
  EXPECT_TRUE(tracker.best().checkpoint.empty());
  const Json state = ToTrainerState(tracker.best(), {});
  EXPECT_EQ(state["best_metric"], 0.1);
  EXPECT_TRUE(state["best_model_checkpoint"].is_null());
  EXPECT_TRUE(state["stateful_callbacks"].empty());
}

TEST(BestModelTest, WithoutPatienceItNeverStops) {
  BestModelTracker tracker({}, "");
  for (int64_t step = 1; step < 50; ++step) tracker.Add(step, static_cast<double>(step));
  EXPECT_FALSE(tracker.should_stop());
}

TEST(BestModelTest, StatesOfRunsThatWereNotEvaluatedHaveNone) {
  const BestModel none = BestFromTrainerState(ToTrainerState({}, {}), "state");
  EXPECT_FALSE(none.metric.has_value());
  EXPECT_FALSE(BestFromTrainerState(Json::object(), "state").metric.has_value());
  EXPECT_THAT(
      [] {
        BestFromTrainerState({{"best_metric", "x"}}, "the state");
      },
      ThrowsMessage<Error>(HasSubstr("[the state] expected 'best_metric'")));
}

}  // namespace
}  // namespace sophia::train
