#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sophia/report/metrics_file.h"

namespace sophia::report {

// What the model answered before and after training; a line of samples.jsonl.
struct Sample {
  std::string prompt;
  std::string expected;
  std::string before;
  std::string after;
};

// The files of a run's folder that tell about it. Everything may be missing or broken: the run may
// be going on, cut off or of another program.
class RunFiles {
 public:
  explicit RunFiles(std::filesystem::path folder);

  // Reads what has changed.
  void Refresh();

  // Whether run.json is another than when this object was made, or metrics.jsonl, and not empty.
  bool HasNewRun() const;

  const std::filesystem::path& folder() const { return folder_; }
  const Metrics& metrics() const { return metrics_.metrics(); }
  // Objects, or null: run.json, training_args.json, and plan.json as `sophia plan --json` prints
  // it.
  const Json& run() const { return run_; }
  const Json& options() const { return options_; }
  const Json& plan() const { return plan_; }
  const std::vector<Sample>& samples() const { return samples_; }
  // What could not be read, in words.
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  // Tells a file from those that replace it; empty: none is there, or nothing in it.
  std::string IdentityOf(std::string_view name) const;
  Json ReadObject(std::string_view name);
  void ReadSamples();

  std::filesystem::path folder_;
  std::string earlier_run_;
  std::string earlier_metrics_;
  MetricsFile metrics_;
  Json run_;
  Json options_;
  Json plan_;
  std::vector<Sample> samples_;
  std::vector<std::string> problems_;
};

}  // namespace sophia::report
