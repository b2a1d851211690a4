#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/base/json.h"

namespace sophia::report {

struct Point {
  double step = 0;
  double value = 0;  // NaN where the line has null or more than 32 bits hold
};

// What metrics.jsonl says.
struct Metrics {
  std::map<std::string, std::vector<Point>, std::less<>> series;  // by key
  Json last;                // the last line of a step, with its loss; null when there is none
  size_t broken_lines = 0;  // that are no object with a step
  bool ends_early = false;  // within a line
};

// metrics.jsonl as it grows. It may be missing, broken, or replaced by another.
class MetricsFile {
 public:
  explicit MetricsFile(std::filesystem::path path) : path_(std::move(path)) {}

  // Reads what was added since the last time.
  void Refresh();
  const Metrics& metrics() const { return metrics_; }

 private:
  void AddLine(std::string_view line);

  std::filesystem::path path_;
  ino_t file_ = 0;
  size_t offset_ = 0;
  std::string rest_;  // a line without its end
  Metrics metrics_;
};

}  // namespace sophia::report
