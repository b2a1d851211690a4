#include "sophia/train/trainer.h"

#include <cmath>
#include <fstream>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/base/strings.h"
#include "sophia/train/progress.h"

namespace sophia::train {
namespace {

// The output folder, made before the work starts so that a bad place is known at once, and removed
// again if nothing came to be written into it.
class NewFolder {
 public:
  explicit NewFolder(const std::filesystem::path& path)
      : path_(path), existed_(std::filesystem::exists(path)) {
    MakeWritableFolder(path);
  }
  ~NewFolder() {
    std::error_code ignored;
    if (!existed_ && std::filesystem::is_empty(path_, ignored)) {
      std::filesystem::remove(path_, ignored);
    }
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

 private:
  std::filesystem::path path_;
  bool existed_;
};

// metrics.jsonl, one line a step, flushed so that it can be followed.
class MetricsFile {
 public:
  explicit MetricsFile(const std::filesystem::path& path)
      : path_(path), stream_(path, std::ios::trunc) {
    if (!stream_) Fail(path.string(), "expected a file that can be written, got none");
  }

  void Write(const StepMetrics& metrics) {
    stream_ << Dump(Json{{"step", metrics.step},
                         {"loss", metrics.loss},
                         {"grad_norm", metrics.grad_norm},
                         {"learning_rate", metrics.learning_rate},
                         {"tokens_per_second", metrics.tokens_per_second()}})
            << std::endl;
    if (!stream_) Fail(path_.string(), "expected to write a line, got: write failed");
  }

 private:
  std::filesystem::path path_;
  std::ofstream stream_;
};

void Describe(const TrainingRun& run, std::FILE* console) {
  if (console == nullptr) return;
  int64_t frozen = 0;
  int64_t trainable = 0;
  for (const nn::ParamSpec& spec : run.specs()) {
    (spec.trainable ? trainable : frozen) += spec.parameters();
  }
  fmt::print(console, "data: {}\n", Summary(run.dataset()));
  fmt::print(console, "model: {} frozen parameters, {} trained ({:.2f} %), loaded in {:.1f} s\n",
             frozen, trainable,
             100.0 * static_cast<double>(trainable) / static_cast<double>(frozen),
             run.load_seconds());
  const Program& program = run.program();
  const pjrt::CompiledMemoryStats memory = program.executable().executable().MemoryStats();
  fmt::print(console,
             "step: batch {}×{} tokens, {} in {:.1f} s; memory: {} arguments + {} temporary\n",
             run.shape().accumulation * run.shape().batch, run.shape().seq,
             program.from_cache() ? "loaded from cache" : "compiled", program.compile_seconds(),
             HumanBytes(static_cast<double>(memory.argument)),
             HumanBytes(static_cast<double>(memory.temp)));
}

// A step that is not finite has spoilt the parameters, which are not saved then. metrics.jsonl
// keeps the steps so far, with null for what is not finite.
void CheckFinite(const StepMetrics& metrics) {
  const std::pair<std::string_view, double> values[] = {{"loss", metrics.loss},
                                                        {"gradient", metrics.grad_norm}};
  for (const auto& [name, value] : values) {
    if (std::isfinite(value)) continue;
    Fail("train", "expected a finite {} at step {}, got {}", name, metrics.step,
         std::isnan(value) ? std::abs(value) : value);
  }
}

}  // namespace

TrainResult Train(const TrainOptions& options, const TrainEnvironment& environment,
                  const std::filesystem::path& out, std::FILE* console) {
  const NewFolder folder(out);
  TrainingRun run(options, environment);
  Describe(run, console);
  MetricsFile file(out / "metrics.jsonl");
  Progress progress(run.total_steps(), console);
  TrainResult result{.steps = run.total_steps(),
                     .compile_seconds = run.program().compile_seconds(),
                     .adapter = out};
  for (int64_t i = 0; i < run.total_steps(); ++i) {
    const StepMetrics metrics = run.Step(run.NextBatch());
    file.Write(metrics);
    CheckFinite(metrics);
    progress.Show(metrics);
    if (i == 0) result.first_loss = metrics.loss;
    result.last_loss = metrics.loss;
    result.train_seconds += metrics.seconds;
  }
  progress.Finish();
  run.SaveAdapter(out);
  return result;
}

}  // namespace sophia::train
