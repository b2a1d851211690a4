#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sophia/train/dataset.h"

namespace sophia::train {

// Sizes shared by all batches of a run, so that one program serves them all.
struct BatchShape {
  int64_t accumulation = 1;  // micro-batches a step
  int64_t batch = 1;         // sequences a micro-batch
  int64_t seq = 0;           // tokens a sequence, shorter ones padded
  // Positions whose loss is computed, a micro-batch: batch * seq, or fewer when only some are
  // trained.
  int64_t loss_positions = 0;

  bool gathers() const { return loss_positions < batch * seq; }
};

// The smallest shape that holds every batch of a dataset, rounded up a little. Positions are
// gathered when at most three quarters of them are trained.
BatchShape ShapeFor(const Dataset& dataset, int64_t batch, int64_t accumulation);

// The shape of a dataset with rows of `length` tokens, all of them trained.
BatchShape FullShape(int64_t length, int64_t batch, int64_t accumulation);

// One optimiser step's data.
struct Batch {
  std::vector<int32_t> ids;  // [A, B, S]
  std::vector<int32_t>
      positions;                // [A, N]: b * S + s of each trained position; padding points at 0
  std::vector<int32_t> labels;  // [A, N]: the next token, or nn::kIgnoredLabel
  int64_t tokens = 0;           // without padding
  int64_t trained_tokens = 0;
};

// Where a loader stands: `row` examples of an epoch, counted from 1, are dealt out.
struct DataPosition {
  int64_t epoch = 1;
  int64_t row = 0;
};

// Deals out the examples, each once an epoch. The last micro-batch and step of an epoch may be
// short.
class BatchLoader {
 public:
  BatchLoader(const Dataset& dataset, BatchShape shape, bool shuffle, uint64_t seed);

  int64_t steps_per_epoch() const;
  // Starts the next epoch when this one is used up.
  Batch Next();

  DataPosition position() const;
  // Goes on as a loader that stood there. Throws Error when the data has no such place.
  void Seek(const DataPosition& position);

 private:
  void StartEpoch();

  const Dataset& dataset_;
  BatchShape shape_;
  bool shuffle_;
  uint64_t seed_;
  uint64_t epoch_ = 0;
  size_t next_ = 0;
  std::vector<size_t> order_;
};

}  // namespace sophia::train
