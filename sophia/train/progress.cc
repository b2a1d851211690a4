#include "sophia/train/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "sophia/base/strings.h"

namespace sophia::train {
namespace {

constexpr size_t kBarWidth = 24;
constexpr size_t kLeastBarWidth = 8;
constexpr size_t kUnknownWidth = 80;
constexpr std::string_view kBetween = "  ";
constexpr std::chrono::seconds kBetweenLines{10};

std::vector<std::string> Parts(const StepReport& report) {
  const StepMetrics& metrics = report.metrics;
  std::vector<std::string> parts = {fmt::format("step {}/{}", metrics.step, report.total_steps),
                                    fmt::format("loss {:.4f}", metrics.loss),
                                    fmt::format("lr {:.2e}", metrics.learning_rate),
                                    fmt::format("grad {:.3g}", metrics.grad_norm),
                                    fmt::format("{:.0f} tokens/s", report.run_tokens_per_second),
                                    fmt::format("left {}", Duration(report.seconds_left)),
                                    HumanCount(report.flops_per_second) + "FLOP/s"};
  for (const auto& [name, value] : metrics.parts) {
    parts.push_back(fmt::format("{} {:.4f}", name, value));
  }
  if (report.device_memory) {
    parts.push_back("device " + HumanBytes(*report.device_memory));
  }
  parts.push_back("host " + HumanBytes(report.host_memory));
  return parts;
}

size_t ColumnsOf(std::FILE* console) {
  winsize size{};
  const bool is_known = ioctl(fileno(console), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return is_known ? size.ws_col : kUnknownWidth;
}

std::string Bar(double done, size_t width) {
  const auto filled = static_cast<size_t>(std::clamp(done, 0.0, 1.0) * static_cast<double>(width));
  std::string bar;
  for (size_t i = 0; i < width; ++i) bar += i < filled ? "█" : "░";
  return bar;
}

}  // namespace

std::string Duration(double seconds) {
  const auto whole = static_cast<int64_t>(std::lround(seconds));
  const int64_t hours = whole / 3600;
  const int64_t minutes = whole / 60 % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60)
                   : fmt::format("{}:{:02}", minutes, whole % 60);
}

std::string ProgressLine(const StepReport& report) { return Join(Parts(report), kBetween); }

std::string ProgressBar(const StepReport& report, size_t width) {
  std::string text;
  for (const std::string& part : Parts(report)) {
    const size_t between = text.empty() ? 0 : kBetween.size();
    if (text.size() + between + part.size() > width) break;
    if (!text.empty()) text += kBetween;
    text += part;
  }
  const size_t room = width - text.size();
  if (room <= kLeastBarWidth) return text;
  const double done =
      static_cast<double>(report.metrics.step) / static_cast<double>(report.total_steps);
  return Bar(done, std::min(kBarWidth, room - 1)) + " " + text;
}

Progress::Progress(std::FILE* console)
    : console_(console), is_terminal_(console != nullptr && isatty(fileno(console)) == 1) {}

void Progress::Show(const StepReport& report) {
  if (console_ == nullptr) return;
  const auto now = std::chrono::steady_clock::now();
  if (is_terminal_) {
    // A line that fills the last column would wrap.
    fmt::print(console_, "\r{}\x1b[K", ProgressBar(report, ColumnsOf(console_) - 1));
  } else if (!has_lines_ || report.metrics.step == report.total_steps ||
             now - last_line_ >= kBetweenLines) {
    fmt::print(console_, "{}\n", ProgressLine(report));
    last_line_ = now;
    has_lines_ = true;
  }
  std::fflush(console_);
}

void Progress::Note(const std::string& line) {
  if (console_ == nullptr) return;
  fmt::print(console_, "{}{}\n", is_terminal_ ? "\r\x1b[K" : "", line);
  std::fflush(console_);
}

void Progress::Finish() {
  if (is_terminal_) fmt::print(console_, "\n");
}

}  // namespace sophia::train
