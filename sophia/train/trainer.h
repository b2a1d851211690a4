#pragma once

#include <cstdio>
#include <filesystem>

#include "sophia/train/run.h"

namespace sophia::train {

struct TrainResult {
  int64_t steps = 0;
  double first_loss = 0;
  double last_loss = 0;
  double compile_seconds = 0;
  double train_seconds = 0;
  std::filesystem::path adapter;
};

// Runs all steps and writes into `out`: the adapter in PEFT's format and metrics.jsonl, an object a
// step with step, loss, grad_norm, learning_rate and tokens_per_second. What happens is told on
// `console` (nullptr: silence), with a progress bar when it is a terminal.
TrainResult Train(const TrainOptions& options, const TrainEnvironment& environment,
                  const std::filesystem::path& out, std::FILE* console);

}  // namespace sophia::train
