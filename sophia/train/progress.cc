#include "sophia/train/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>

namespace sophia::train {
namespace {

constexpr int kBarWidth = 24;
constexpr double kSecondsBetweenLines = 10;

double SecondsBetween(std::chrono::steady_clock::time_point from,
                      std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

std::string Bar(double done) {
  const int filled = static_cast<int>(done * kBarWidth);
  std::string bar;
  for (int i = 0; i < kBarWidth; ++i) bar += i < filled ? "█" : "░";
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

Progress::Progress(int64_t done, int64_t total_steps, std::FILE* console)
    : before_(done),
      total_(total_steps),
      console_(console),
      is_terminal_(console != nullptr && isatty(fileno(console)) == 1),
      start_(std::chrono::steady_clock::now()),
      last_line_(start_) {}

void Progress::Show(const StepMetrics& metrics) {
  if (console_ == nullptr) return;
  tokens_ += metrics.tokens;
  const auto now = std::chrono::steady_clock::now();
  const double elapsed = SecondsBetween(start_, now);
  const double done = static_cast<double>(metrics.step) / static_cast<double>(total_);
  const double a_step = elapsed / static_cast<double>(metrics.step - before_);
  const std::string text =
      fmt::format("step {}/{}  loss {:.4f}  {:.0f} tokens/s  left {}", metrics.step, total_,
                  metrics.loss, static_cast<double>(tokens_) / elapsed,
                  Duration(a_step * static_cast<double>(total_ - metrics.step)));
  if (is_terminal_) {
    fmt::print(console_, "\r{} {}\x1b[K", Bar(done), text);
  } else if (metrics.step == before_ + 1 || metrics.step == total_ ||
             SecondsBetween(last_line_, now) >= kSecondsBetweenLines) {
    fmt::print(console_, "{}\n", text);
    last_line_ = now;
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
