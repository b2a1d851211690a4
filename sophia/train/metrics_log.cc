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

MetricsLog::MetricsLog(const std::filesystem::path& path, std::string rows)
    : rows_(std::move(rows)), file_(Replaced(path, rows_)) {}

bool MetricsLog::AddRow(const Json& row) {
  const std::string line = Dump(row) + "\n";
  rows_ += line;
  return file_.Append(line);
}

}  // namespace sophia::train
