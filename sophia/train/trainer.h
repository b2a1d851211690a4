#pragma once

#include <cstdio>
#include <filesystem>
#include <optional>

#include "sophia/train/best_model.h"
#include "sophia/train/run.h"

namespace sophia::train {

struct TrainResult {
  int64_t steps = 0;      // done now
  int64_t last_step = 0;  // of the whole run
  int64_t total_steps = 0;
  double first_loss = 0;  // of the steps done now
  double last_loss = 0;
  double compile_seconds = 0;
  double train_seconds = 0;
  // SIGINT or SIGTERM when it stopped the run before its end; there is no final adapter then.
  int signal = 0;
  std::optional<std::filesystem::path> checkpoint;  // the latest complete one
  BestModel best;
  bool stopped_early = false;
};

// Runs all steps that are left and writes into the output folder: checkpoints, the adapter in
// PEFT's format, metrics.jsonl (see MetricsLog) and what RunRecord says. A signal ends the run
// after the present step, with a checkpoint. What happens is told on `console` (nullptr: silence),
// with a progress bar when it is a terminal; warnings go to stderr.
TrainResult Train(const TrainOptions& options, const TrainEnvironment& environment,
                  const OutputOptions& output, std::FILE* console);

}  // namespace sophia::train
