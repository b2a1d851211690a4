#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "sophia/train/example_source.h"
#include "sophia/train/packing.h"

namespace sophia::train {

struct WindowOptions {
  bool packs = false;  // else every example is a sequence
  SequenceLimits limits = {};
  bool shuffle = false;
  uint64_t seed = 0;
  // How many times an epoch deals out each row of a file; of a fraction, rows that every epoch
  // draws anew. Empty: once.
  std::vector<double> weights = {};
};

// Some rows that follow each other in an epoch's order, laid out in sequences. It depends on
// nothing that came before, so that a run may go on from any window.
struct Window {
  int64_t epoch = 1;
  size_t first = 0;  // place of its first row in the epoch's order
  size_t rows = 0;
  size_t epoch_rows = 0;  // of the whole epoch
  std::vector<Example> examples;
  std::vector<std::vector<size_t>> sequences;  // examples of each, in the order to deal them out
};

// Makes the windows of any epoch. Not for several threads at once.
class Windows {
 public:
  // Rows a window: enough to pack well, few enough to be encoded in little time.
  static constexpr size_t kRows = 1024;

  Windows(const ExampleSource& source, WindowOptions options)
      : source_(source), options_(std::move(options)) {}

  // Which rows an epoch (from 1) deals out, in its order.
  const std::vector<size_t>& Order(int64_t epoch);
  Window At(int64_t epoch, size_t first);
  // Sequences of an epoch whose rows have these sizes.
  int64_t Count(int64_t epoch, const std::vector<ExampleSize>& sizes);

 private:
  std::vector<size_t> Draw(int64_t epoch) const;
  std::vector<std::vector<size_t>> Lay(const std::vector<ExampleSize>& sizes) const;

  const ExampleSource& source_;
  WindowOptions options_;
  int64_t epoch_ = 0;
  std::vector<size_t> order_;  // of `epoch_`
};

}  // namespace sophia::train
