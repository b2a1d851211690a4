#pragma once

#include <chrono>
#include <cstdio>
#include <string>

#include "sophia/train/run.h"

namespace sophia::train {

// Loss, tokens/s and the time left: a bar that is redrawn on a terminal, else a line now and then.
class Progress {
 public:
  // `done` steps were made before. `console` may be nullptr: nothing is shown.
  Progress(int64_t done, int64_t total_steps, std::FILE* console);

  void Show(const StepMetrics& metrics);
  // A line of its own, above the bar.
  void Note(const std::string& line);
  void Finish();

 private:
  int64_t before_;
  int64_t total_;
  std::FILE* console_;
  bool is_terminal_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_line_;
  int64_t tokens_ = 0;
};

// 3725 -> "1:02:05", 65 -> "1:05".
std::string Duration(double seconds);

}  // namespace sophia::train
