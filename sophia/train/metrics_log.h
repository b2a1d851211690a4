#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "sophia/base/append_file.h"
#include "sophia/report/event_file.h"
#include "sophia/train/step_report.h"

namespace sophia::train {

// metrics.jsonl: an object a step, see ToJson(StepReport), a line each, which can be followed. What
// cannot be written, as on a full disk, is written with a later line. The same goes to TensorBoard
// if wanted.
class MetricsLog {
 public:
  // Replaces the file by `rows`, the lines of the run so far.
  MetricsLog(const std::filesystem::path& path, std::string rows,
             std::unique_ptr<report::EventFile> events = nullptr);

  // False when a file does not take the line now; behind() is that file.
  bool AddRow(const Json& row);
  const std::filesystem::path& behind() const { return behind_; }
  // Throws Error when lines could not be written.
  void Finish();

  const std::filesystem::path& path() const { return file_.path(); }
  // All lines so far.
  const std::string& rows() const { return rows_; }

 private:
  std::string rows_;
  AppendFile file_;
  std::unique_ptr<report::EventFile> events_;
  std::filesystem::path behind_;
};

}  // namespace sophia::train
