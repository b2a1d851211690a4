#pragma once

#include <filesystem>
#include <string>

#include "sophia/train/run.h"

namespace sophia::train {

// metrics.jsonl: a line a step, which can be followed. What cannot be written, as on a full disk,
// is written with a later line.
class MetricsLog {
 public:
  // Replaces the file by `rows`, the lines of the run so far.
  MetricsLog(std::filesystem::path path, std::string rows);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  // False when the file does not take the line now.
  bool Add(const StepMetrics& metrics);
  bool AddRow(const Json& row);
  // Throws Error when lines could not be written.
  void Finish();

  const std::filesystem::path& path() const { return path_; }
  // All lines so far.
  const std::string& rows() const { return rows_; }

 private:
  bool Flush();

  std::filesystem::path path_;
  std::string rows_;
  size_t written_;
  int fd_;
  int error_ = 0;
};

}  // namespace sophia::train
