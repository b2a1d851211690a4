#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "sophia/base/json.h"
#include "sophia/train/options.h"

namespace sophia::train {

// The best evaluation of a run so far.
struct BestModel {
  std::optional<double> metric;  // nullopt: none yet
  int64_t step = 0;
  std::filesystem::path checkpoint = {};  // empty: not saved
  int64_t evaluations_since = 0;          // without an improvement beyond the threshold, in a row
};

// The fields of transformers' TrainerState that hold it, and the state of its
// EarlyStoppingCallback.
Json ToTrainerState(const BestModel& best, const EvalOptions& options);
// Throws Error naming `where` for fields of another type.
BestModel BestFromTrainerState(const Json& state, std::string_view where);

// Decides as transformers' Trainer and its EarlyStoppingCallback do: any improvement is a new best,
// one by more than the threshold begins patience anew.
class BestModelTracker {
 public:
  // `out`: where the best are saved as checkpoints; empty: they are not.
  BestModelTracker(const EvalOptions& options, std::filesystem::path out, BestModel best = {});

  // Takes the metric of an evaluation after `step`; whether it is the new best.
  bool Add(int64_t step, double metric);
  bool should_stop() const;
  const BestModel& best() const { return best_; }

 private:
  EvalOptions options_;
  std::filesystem::path out_;
  BestModel best_;
};

}  // namespace sophia::train
