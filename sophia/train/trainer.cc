#include "sophia/train/trainer.h"

#include <unistd.h>

#include <cmath>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/train/checkpoint_saver.h"
#include "sophia/train/interrupt.h"
#include "sophia/train/metrics_log.h"
#include "sophia/train/output_folder.h"
#include "sophia/train/progress.h"
#include "sophia/train/run_evaluation.h"
#include "sophia/train/run_record.h"

namespace sophia::train {
namespace {

void Describe(const TrainingRun& run, const std::optional<Checkpoint>& checkpoint,
              std::FILE* console) {
  if (console == nullptr) return;
  int64_t frozen = 0;
  int64_t trainable = 0;
  for (const nn::ParamSpec& spec : run.specs()) {
    (spec.trainable ? trainable : frozen) += spec.parameters();
  }
  fmt::print(console, "data: {}\n", run.data().summary);
  if (const Dataset* evaluated = run.data().evaluation.get()) {
    fmt::print(console, "evaluation: {}\n", Summary(*evaluated));
  }
  fmt::print(console, "model: {} frozen parameters, {} trained ({:.2f} %), loaded in {:.1f} s\n",
             frozen, trainable,
             100.0 * static_cast<double>(trainable) / static_cast<double>(frozen + trainable),
             run.load_seconds());
  const Program& program = run.program();
  const pjrt::CompiledMemoryStats memory = program.executable().executable().MemoryStats();
  fmt::print(console,
             "step: batch {}×{} tokens, {} in {:.1f} s; memory: {} arguments + {} temporary\n",
             run.shape().accumulation * run.shape().batch, run.shape().seq,
             program.from_cache() ? "loaded from cache" : "compiled", program.compile_seconds(),
             HumanBytes(memory.argument), HumanBytes(memory.temp));
  if (checkpoint) {
    fmt::print(console, "resume: {} of {} steps are done in {}\n", run.done(), run.total_steps(),
               checkpoint->folder().string());
  }
}

// A step that is not finite has spoilt the parameters. What a checkpoint holds was followed by a
// finite loss and gradient.
void CheckFinite(std::string_view what, double value, int64_t step, CheckpointSaver& saver) {
  if (std::isfinite(value)) return;
  const std::optional<std::filesystem::path>& kept = saver.Finish();
  Fail("train", "expected a finite {} at step {}, got {}{}", what, step,
       std::isnan(value) ? std::abs(value) : value,
       kept ? fmt::format("; the last good state is {}", kept->string()) : "");
}

// On a terminal it takes the place of the progress bar.
void Warn(const std::string& text) {
  fmt::print(stderr, "{}sophia: warning: {}\n", isatty(STDERR_FILENO) == 1 ? "\r\x1b[K" : "", text);
}

// Steps until the end, a signal or patience is lost. `result` gets what the steps say.
void RunSteps(TrainingRun& run, MetricsLog& log, CheckpointSaver& saver, RunEvaluation& evaluation,
              std::FILE* console, TrainResult& result) {
  const InterruptGuard interrupt;
  StepReporter reporter(run);
  Progress progress(console);
  bool log_is_behind = false;
  const auto note = [&](bool written) {
    if (!written && !log_is_behind) {
      Warn(
          fmt::format("[{}] expected to write a line, got no space or another fault; the run goes "
                      "on and tries again",
                      log.behind().string()));
    }
    log_is_behind = !written;
  };
  const auto is_over = [&] { return run.done() >= run.total_steps() || evaluation.should_stop(); };
  while (!is_over() && interrupt.received() == 0) {
    const StepMetrics metrics = run.Step(run.NextBatch());
    const StepReport report = reporter.Report(metrics);
    note(log.AddRow(ToJson(report)));
    CheckFinite("loss", metrics.loss, metrics.step, saver);
    CheckFinite("gradient", metrics.grad_norm, metrics.step, saver);
    progress.Show(report);
    if (const std::optional<EvaluationMetrics> evaluated = evaluation.AfterStep(metrics)) {
      note(log.AddRow(evaluated->ToJson()));
      CheckFinite("evaluation loss", evaluated->loss, evaluated->step, saver);
      progress.Note(evaluated->ToText());
    }
    saver.AfterStep(log.rows(), evaluation.best());
    if (result.steps++ == 0) result.first_loss = metrics.loss;
    result.last_loss = metrics.loss;
    result.train_seconds += metrics.seconds;
  }
  progress.Finish();
  result.best = evaluation.best();
  result.stopped_early = run.done() < run.total_steps() && evaluation.should_stop();
  if (!is_over()) result.signal = interrupt.received();
  if (result.signal != 0 || saver.saves_at_end()) saver.SaveNow(log.rows(), result.best);
  result.checkpoint = saver.Finish();
}

// An output folder that was moved has its best checkpoint in the new place.
BestModel BestSoFar(const std::optional<Checkpoint>& checkpoint, const std::filesystem::path& out) {
  if (!checkpoint) return {};
  BestModel best = checkpoint->Best();
  const std::filesystem::path here = CheckpointAt(out, best.step).path;
  if (!best.checkpoint.empty() && std::filesystem::is_directory(here)) best.checkpoint = here;
  return best;
}

void LoadBest(const BestModel& best, TrainingRun& run) {
  if (!best.metric || best.step == run.done()) return;
  if (std::filesystem::is_directory(best.checkpoint)) {
    run.LoadAdapter(best.checkpoint);
  } else {
    Warn(fmt::format("[{}] expected the best checkpoint, got none; the adapter is the last one",
                     best.checkpoint.string()));
  }
}

// Those of an adapter that was here before.
void RemoveAnswers(const std::filesystem::path& folder) {
  std::error_code ignored;
  std::filesystem::remove(folder / "samples.jsonl", ignored);
}

void SaveAdapter(TrainingRun& run, const std::filesystem::path& folder,
                 const std::optional<std::filesystem::path>& checkpoint) {
  try {
    run.SaveAdapter(folder);
  } catch (const Error& error) {
    if (!checkpoint) throw;
    throw Error(error.where(), fmt::format("{}; --resume-from-checkpoint {} goes on from there",
                                           error.message(), checkpoint->string()));
  }
}

}  // namespace

TrainResult Train(const TrainOptions& options, const TrainEnvironment& environment,
                  const OutputOptions& output, std::FILE* console) {
  const OutputFolder folder(output);
  std::optional<Checkpoint> checkpoint;
  if (folder.checkpoint()) checkpoint.emplace(*folder.checkpoint());
  TrainingRun run(options, environment, {}, checkpoint ? &*checkpoint : nullptr);
  Describe(run, checkpoint, console);
  std::unique_ptr<report::EventFile> events;
  if (output.logging_dir) {
    events = std::make_unique<report::EventFile>(*output.logging_dir, run.done() + 1);
  }
  MetricsLog log(output.folder / "metrics.jsonl", checkpoint ? checkpoint->MetricsRows() : "",
                 std::move(events));
  folder.Clear();
  RemoveAnswers(output.folder);
  RunRecord record(run, output, environment.plan ? environment.plan() : Json(), Warn);
  CheckpointSaver saver(run, output, folder.checkpoint(), Warn);
  TrainResult result{.total_steps = run.total_steps(),
                     .compile_seconds = run.program().compile_seconds()};
  const bool saves_best = saver.saves_at_end() || options.eval.load_best;
  RunEvaluation evaluation(run, saves_best ? output.folder : std::filesystem::path(),
                           BestSoFar(checkpoint, output.folder));
  try {
    RunSteps(run, log, saver, evaluation, console, result);
    result.last_step = run.done();
    if (result.signal == 0) {
      record.CheckBase();
      if (options.eval.load_best) LoadBest(result.best, run);
      SaveAdapter(run, output.folder, result.checkpoint);
    }
    log.Finish();
  } catch (const std::exception& error) {
    record.End(RunEnd::kFailed, error.what());
    throw;
  }
  record.End(result.signal == 0 ? RunEnd::kFinished : RunEnd::kStopped);
  return result;
}

}  // namespace sophia::train
