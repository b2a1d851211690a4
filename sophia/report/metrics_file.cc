#include "sophia/report/metrics_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/strings.h"

namespace sophia::report {
namespace {

constexpr size_t kPiece = size_t{1} << 20;

// Metrics are computed in 32 bits; nothing beyond them is drawn.
bool IsFinite(const Json& value) {
  return value.is_number() && std::isfinite(static_cast<float>(value.get<double>()));
}

}  // namespace

void MetricsFile::Refresh() {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path_, ignored)) {
    *this = MetricsFile(path_);
    return;
  }
  const RandomAccessFile file(path_);
  struct stat status {};
  SOPHIA_CHECK(fstat(file.fd(), &status) == 0);
  if (status.st_ino != file_ || file.size() < offset_) *this = MetricsFile(path_);
  file_ = status.st_ino;
  std::string piece;
  while (offset_ < file.size()) {
    piece.resize(std::min(kPiece, file.size() - offset_));
    file.Read(offset_, piece);
    offset_ += piece.size();
    rest_ += piece;
    size_t start = 0;
    for (size_t end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n', start)) {
      AddLine(std::string_view(rest_).substr(start, end - start));
      start = end + 1;
    }
    rest_.erase(0, start);
  }
  metrics_.ends_early = !rest_.empty();
}

void MetricsFile::AddLine(std::string_view line) {
  if (Trim(line).empty()) return;
  const Json row = Json::parse(line, nullptr, false);
  const bool has_step = row.is_object() && row.contains("step") && IsFinite(row["step"]);
  if (!has_step) {
    ++metrics_.broken_lines;
    return;
  }
  const auto step = row["step"].get<double>();
  for (const auto& [key, value] : row.items()) {
    if (!value.is_number() && !value.is_null()) continue;
    metrics_.series[key].push_back(
        {step, IsFinite(value) ? value.get<double>() : std::numeric_limits<double>::quiet_NaN()});
  }
  if (row.contains("loss")) metrics_.last = row;
}

}  // namespace sophia::report
