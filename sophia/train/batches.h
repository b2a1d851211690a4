#pragma once

#include <cstdint>
#include <future>
#include <utility>
#include <vector>

#include "sophia/train/dataset.h"
#include "sophia/train/windows.h"

namespace sophia::train {

// Sizes shared by all batches of a run, so that one program serves them all.
struct BatchShape {
  int64_t accumulation = 1;  // micro-batches a step
  int64_t batch = 1;         // sequences a micro-batch
  int64_t seq = 0;           // tokens a sequence, shorter ones padded
  // Positions whose loss is computed, a micro-batch: batch * seq, or fewer when only some are
  // trained.
  int64_t loss_positions = 0;
  bool packs = false;  // a sequence may hold several examples

  bool gathers() const { return loss_positions < batch * seq; }
};

struct BatchOptions {
  int64_t batch = 1;  // sequences a micro-batch
  int64_t accumulation = 1;
  bool packing = false;
};

// The smallest shape that holds every batch of a dataset, rounded up a little: sequences of the
// longest example. Positions are gathered when at most three quarters of them are trained. It packs
// if it may and any two examples fit together.
BatchShape ShapeFor(const Dataset& dataset, const BatchOptions& options);

// The shape of sequences of `length` tokens, all of them trained.
BatchShape FullShape(int64_t length, const BatchOptions& options);

// One optimiser step's data.
struct Batch {
  std::vector<int32_t> ids;  // [A, B, S]
  // [A, B, S], empty unless the shape packs: the number of the example in its sequence, from 1, and
  // of the token in its example, from 0; padding is 0 in both.
  std::vector<int32_t> segments;
  std::vector<int32_t> places;
  std::vector<int32_t>
      positions;                // [A, N]: b * S + s of each trained position; padding points at 0
  std::vector<int32_t> labels;  // [A, N]: the next token, or nn::kIgnoredLabel
  int64_t tokens = 0;           // without padding
  int64_t trained_tokens = 0;
  double waited_seconds = 0;  // for rows to be read and encoded
};

// No examples yet.
Batch EmptyBatch(const BatchShape& shape);

// Where the next example of a micro-batch goes, and what the micro-batch has so far.
struct FillPosition {
  int64_t micro = 0;
  int64_t row = 0;      // sequence
  int64_t token = 0;    // in the sequence
  int32_t segment = 0;  // of the sequence, so far
  size_t trained = 0;   // of the micro-batch, so far
};

// Loss positions of a micro-batch, without `end`.
struct LossSpan {
  size_t begin = 0;
  size_t end = 0;
};

// Puts an example behind what `at` says is there, and moves `at` behind it. -> its loss positions;
// those among them that are not trained have kIgnoredLabel.
LossSpan AddExample(const Example& example, const BatchShape& shape, FillPosition& at,
                    Batch& batch);

// What a sequence of batches of this shape may hold.
SequenceLimits LimitsOf(const BatchShape& shape);

// Where a loader stands in an epoch, counted from 1: `sequence` sequences of the window that begins
// at `row` are dealt out.
struct DataPosition {
  int64_t epoch = 1;
  int64_t row = 0;
  int64_t sequence = 0;
};

struct LoaderOptions {
  bool shuffle = true;
  uint64_t seed = 0;
  std::vector<double> weights = {};  // of files, see WindowOptions
};

// Deals out the examples, each once an epoch. The last micro-batch and step of an epoch may be
// short. Another thread reads, encodes and packs one window ahead.
class BatchLoader {
 public:
  BatchLoader(const ExampleSource& source, BatchShape shape, const LoaderOptions& options);

  // Steps of so many epochs; the sizes of the source's examples must be known.
  int64_t StepsOf(double epochs) const;
  // Starts the next epoch when this one is used up. Throws Error when an epoch has no example.
  Batch Next();

  // Epochs dealt out so far, by rows.
  double epochs() const;
  DataPosition position() const;
  // Goes on as a loader that stood there. Throws Error when the data has no such place.
  void Seek(const DataPosition& position);

 private:
  void Load(int64_t epoch, size_t first);
  Window Take(int64_t epoch, size_t first);
  bool HasSequence();

  const ExampleSource& source_;
  BatchShape shape_;
  WindowOptions options_;
  Windows windows_;
  Window window_;
  size_t next_ = 0;  // sequence of the window
  double waited_seconds_ = 0;
  std::pair<int64_t, size_t> ahead_place_;  // epoch and first row
  std::future<Window> ahead_;               // uses `windows_`; waits for its thread when destroyed
};

}  // namespace sophia::train
