#include "sophia/train/step_report.h"

#include "sophia/base/process.h"

namespace sophia::train {
namespace {

std::optional<int64_t> MostMemory(const pjrt::Device& device) {
  const std::optional<pjrt::DeviceMemoryStats> stats = device.MemoryStats();
  if (!stats) return std::nullopt;
  return stats->peak_bytes_in_use.value_or(stats->bytes_in_use);
}

}  // namespace

Json ToJson(const StepReport& report) {
  const StepMetrics& metrics = report.metrics;
  Json row{{"step", metrics.step},
           {"epoch", metrics.epoch},
           {"loss", metrics.loss},
           {"grad_norm", metrics.grad_norm},
           {"learning_rate", metrics.learning_rate},
           {"tokens_per_second", metrics.tokens_per_second()},
           {"data_wait_seconds", metrics.data_wait_seconds},
           {"step_seconds", metrics.seconds},
           {"flops_per_second", report.flops_per_second},
           {"device_memory_bytes", nullptr},
           {"host_memory_bytes", report.host_memory},
           {"eta_seconds", report.seconds_left}};
  for (const auto& [name, value] : metrics.parts) row[name] = value;
  if (report.device_memory) row["device_memory_bytes"] = *report.device_memory;
  return row;
}

StepReporter::StepReporter(const TrainingRun& run) : run_(run), before_(run.done()) {}

StepReport StepReporter::Report(const StepMetrics& metrics) {
  tokens_ += metrics.tokens;
  const std::chrono::duration<double> elapsed = Clock::now() - start_;
  const double a_step = elapsed.count() / static_cast<double>(metrics.step - before_);
  return {.metrics = metrics,
          .total_steps = run_.total_steps(),
          .run_tokens_per_second = static_cast<double>(tokens_) / elapsed.count(),
          .flops_per_second = metrics.seconds > 0 ? run_.flops_per_step() / metrics.seconds : 0,
          .device_memory = MostMemory(run_.device()),
          .host_memory = ResidentBytes(),
          .seconds_left = a_step * static_cast<double>(run_.total_steps() - metrics.step)};
}

}  // namespace sophia::train
