#include "sophia/train/metrics_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/json.h"

namespace sophia::train {

MetricsLog::MetricsLog(std::filesystem::path path, std::string rows)
    : path_(std::move(path)), rows_(std::move(rows)), written_(rows_.size()) {
  WriteFile(path_, rows_);
  fd_ = open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd_ < 0) {
    Fail(path_.string(), "expected a file that can be written, got: {}", std::strerror(errno));
  }
}

MetricsLog::~MetricsLog() { close(fd_); }

bool MetricsLog::Add(const StepMetrics& metrics) {
  return AddRow({{"step", metrics.step},
                 {"epoch", metrics.epoch},
                 {"loss", metrics.loss},
                 {"grad_norm", metrics.grad_norm},
                 {"learning_rate", metrics.learning_rate},
                 {"tokens_per_second", metrics.tokens_per_second()},
                 {"data_wait_seconds", metrics.data_wait_seconds}});
}

bool MetricsLog::AddRow(const Json& row) {
  rows_ += Dump(row) + "\n";
  return Flush();
}

bool MetricsLog::Flush() {
  while (written_ < rows_.size()) {
    const ssize_t count = write(fd_, rows_.data() + written_, rows_.size() - written_);
    if (count < 0 && errno == EINTR) continue;
    error_ = count < 0 ? errno : 0;
    if (count <= 0) return false;
    written_ += static_cast<size_t>(count);
  }
  return true;
}

void MetricsLog::Finish() {
  if (Flush()) return;
  Fail(path_.string(), "expected to write all lines, got: {}", std::strerror(error_));
}

}  // namespace sophia::train
