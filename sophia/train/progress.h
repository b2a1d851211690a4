#pragma once

#include <chrono>
#include <cstdio>
#include <string>

#include "sophia/train/step_report.h"

namespace sophia::train {

// The progress of a run in one line: a bar that is redrawn on a terminal, else a line now and then.
class Progress {
 public:
  // `console` may be nullptr: nothing is shown.
  explicit Progress(std::FILE* console);

  void Show(const StepReport& report);
  // A line of its own, above the bar.
  void Note(const std::string& line);
  void Finish();

 private:
  std::FILE* console_;
  bool is_terminal_;
  bool has_lines_ = false;
  std::chrono::steady_clock::time_point last_line_;
};

// "step 12/100  loss 1.2345  lr 2.00e-04  grad 0.512  659 tokens/s  left 1:05  1.2 GFLOP/s  device
// 1.1 GB  host 623 MB"; without the device where it does not count its memory.
std::string ProgressLine(const StepReport& report);
// The same within `width` columns: the last parts are left out where they do not fit, and a bar in
// front shows what is done where there is room.
std::string ProgressBar(const StepReport& report, size_t width);

// 3725 -> "1:02:05", 65 -> "1:05".
std::string Duration(double seconds);

}  // namespace sophia::train
