#include "sophia/train/metrics_log.h"

#include <utility>

#include "sophia/base/file.h"

namespace sophia::train {
namespace {

const std::filesystem::path& Replaced(const std::filesystem::path& path, const std::string& rows) {
  WriteFile(path, rows);
  return path;
}

}  // namespace

MetricsLog::MetricsLog(const std::filesystem::path& path, std::string rows,
                       std::unique_ptr<report::EventFile> events)
    : rows_(std::move(rows)), file_(Replaced(path, rows_)), events_(std::move(events)) {}

bool MetricsLog::AddRow(const Json& row) {
  const std::string line = Dump(row) + "\n";
  rows_ += line;
  behind_.clear();
  if (!file_.Append(line)) behind_ = file_.path();
  if (events_ != nullptr && !events_->Add(row)) behind_ = events_->path();
  return behind_.empty();
}

void MetricsLog::Finish() {
  file_.Finish();
  if (events_ != nullptr) events_->Finish();
}

}  // namespace sophia::train
