#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <string>

#include "sophia/train/checkpoint_writer.h"

namespace sophia::train {

using WarningSink = std::function<void(const std::string&)>;

// Saves a run's state when it is due. The state is copied to the host between two steps and written
// by another thread. A checkpoint that cannot be written is a warning; the run goes on.
class CheckpointSaver {
 public:
  // `run` must live longer. `latest` is what the run continues, if anything.
  CheckpointSaver(const TrainingRun& run, const OutputOptions& output,
                  std::optional<std::filesystem::path> latest, WarningSink warn);
  // Waits for what is being written.
  ~CheckpointSaver();
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;

  // After every step whose loss and gradient are finite, which shows that the state before it was
  // good: a snapshot taken then is handed to the writer now. A `best` of this step that names a
  // checkpoint is saved whether or not one is due.
  void AfterStep(const std::string& metrics_rows, const BestModel& best = {});
  // Saves the present state, unless it is saved, and waits until it is written.
  void SaveNow(const std::string& metrics_rows, const BestModel& best = {});
  bool saves_at_end() const { return output_.save.steps > 0 || output_.save.minutes > 0; }
  // Waits for what is being written; the latest complete checkpoint.
  const std::optional<std::filesystem::path>& Finish();

 private:
  using Clock = std::chrono::steady_clock;

  bool IsDue() const;
  void Capture(const std::string& metrics_rows, const BestModel& best);
  void Submit();

  const TrainingRun& run_;
  OutputOptions output_;
  WarningSink warn_;
  std::optional<std::filesystem::path> latest_;
  int64_t captured_step_;
  Clock::time_point captured_at_ = Clock::now();
  std::optional<Snapshot> pending_;
  std::future<std::filesystem::path> writing_;
};

}  // namespace sophia::train
