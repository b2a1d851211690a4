#pragma once

#include <filesystem>
#include <string>

#include "sophia/base/append_file.h"
#include "sophia/train/step_report.h"

namespace sophia::train {

// metrics.jsonl: an object a step, see ToJson(StepReport), a line each, which can be followed. What
// cannot be written, as on a full disk, is written with a later line.
class MetricsLog {
 public:
  // Replaces the file by `rows`, the lines of the run so far.
  MetricsLog(const std::filesystem::path& path, std::string rows);

  // False when the file does not take the line now.
  bool AddRow(const Json& row);
  // Throws Error when lines could not be written.
  void Finish() { file_.Finish(); }

  const std::filesystem::path& path() const { return file_.path(); }
  // All lines so far.
  const std::string& rows() const { return rows_; }

 private:
  std::string rows_;
  AppendFile file_;
};

}  // namespace sophia::train
