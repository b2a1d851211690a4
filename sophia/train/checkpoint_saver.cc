#include "sophia/train/checkpoint_saver.h"

#include <utility>

#include "sophia/base/error.h"

namespace sophia::train {

CheckpointSaver::CheckpointSaver(const TrainingRun& run, const OutputOptions& output,
                                 std::optional<std::filesystem::path> latest, WarningSink warn)
    : run_(run),
      output_(output),
      warn_(std::move(warn)),
      latest_(std::move(latest)),
      captured_step_(run.done()) {}

CheckpointSaver::~CheckpointSaver() {
  if (writing_.valid()) writing_.wait();
}

bool CheckpointSaver::IsDue() const {
  const SaveOptions& save = output_.save;
  if (save.steps > 0 && run_.done() % save.steps == 0) return true;
  const std::chrono::duration<double> since = Clock::now() - captured_at_;
  return save.minutes > 0 && since.count() >= 60 * save.minutes;
}

void CheckpointSaver::Capture(const std::string& metrics_rows, const BestModel& best) {
  pending_ = Snapshot{.state = run_.State(), .metrics_rows = metrics_rows, .best = best};
  captured_step_ = run_.done();
  captured_at_ = Clock::now();
}

void CheckpointSaver::Submit() {
  Finish();
  writing_ = std::async(std::launch::async, [this, snapshot = std::move(*pending_)] {
    std::filesystem::path written = WriteCheckpoint(run_, output_, snapshot);
    DropOldCheckpoints(output_.folder, output_.save.total_limit,
                       snapshot.best.metric ? std::optional(snapshot.best.step) : std::nullopt);
    return written;
  });
  pending_.reset();
}

void CheckpointSaver::AfterStep(const std::string& metrics_rows, const BestModel& best) {
  if (pending_) Submit();
  const bool is_over =
      writing_.valid() && writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  if (is_over) Finish();
  const bool is_best = best.step == run_.done() && !best.checkpoint.empty();
  if (is_best || IsDue()) Capture(metrics_rows, best);
}

void CheckpointSaver::SaveNow(const std::string& metrics_rows, const BestModel& best) {
  if (captured_step_ != run_.done()) Capture(metrics_rows, best);
  if (pending_) Submit();
  Finish();
}

const std::optional<std::filesystem::path>& CheckpointSaver::Finish() {
  if (!writing_.valid()) return latest_;
  try {
    latest_ = writing_.get();
  } catch (const std::exception& error) {
    warn_(fmt::format("{}; the run goes on without this checkpoint", error.what()));
  }
  return latest_;
}

}  // namespace sophia::train
