#pragma once

#include <chrono>
#include <optional>

#include "sophia/train/run.h"

namespace sophia::train {

// What a step computed, beside what the clock and the machine say after it.
struct StepReport {
  StepMetrics metrics;
  int64_t total_steps = 0;
  double run_tokens_per_second = 0;  // of all steps done now, with the time between them
  // Of the step's matrix products and kernels, those that are computed again among them.
  double flops_per_second = 0;
  std::optional<int64_t> device_memory;  // bytes, the most so far; where the device counts them
  int64_t host_memory = 0;               // resident bytes of the process
  double seconds_left = 0;
};

// A line of metrics.jsonl: step, epoch, loss, grad_norm, learning_rate, tokens_per_second,
// data_wait_seconds, step_seconds, flops_per_second, device_memory_bytes (null where the device
// does not count), host_memory_bytes and eta_seconds.
Json ToJson(const StepReport& report);

// Reports on the steps of one run, from now on.
class StepReporter {
 public:
  // `run` must live longer.
  explicit StepReporter(const TrainingRun& run);

  StepReport Report(const StepMetrics& metrics);

 private:
  using Clock = std::chrono::steady_clock;

  const TrainingRun& run_;
  int64_t before_;  // steps done before
  Clock::time_point start_ = Clock::now();
  int64_t tokens_ = 0;
};

}  // namespace sophia::train
