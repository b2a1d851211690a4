#include "sophia/train/batches.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>

#include "sophia/base/error.h"
#include "sophia/nn/loss.h"

namespace sophia::train {
namespace {

constexpr int64_t kRounding = 8;

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

BatchShape ShapeFor(const Dataset& dataset, int64_t batch, int64_t accumulation) {
  BatchShape shape{.accumulation = accumulation, .batch = batch};
  std::vector<int64_t> trained;
  for (const Example& example : dataset.examples) {
    shape.seq = std::max(shape.seq, static_cast<int64_t>(example.ids.size()));
    trained.push_back(TrainedTokens(example));
  }
  shape.seq = RoundUp(shape.seq, kRounding);
  std::sort(trained.begin(), trained.end(), std::greater<>());
  trained.resize(std::min(trained.size(), static_cast<size_t>(batch)));
  const int64_t most =
      RoundUp(std::accumulate(trained.begin(), trained.end(), int64_t{0}), kRounding);
  const int64_t all = shape.batch * shape.seq;
  shape.loss_positions = most * 4 <= all * 3 ? most : all;
  return shape;
}

BatchShape FullShape(int64_t length, int64_t batch, int64_t accumulation) {
  const int64_t seq = RoundUp(length, kRounding);
  return {.accumulation = accumulation, .batch = batch, .seq = seq, .loss_positions = batch * seq};
}

BatchLoader::BatchLoader(const Dataset& dataset, BatchShape shape, bool shuffle, uint64_t seed)
    : dataset_(dataset), shape_(shape), shuffle_(shuffle), seed_(seed) {
  StartEpoch();
}

int64_t BatchLoader::steps_per_epoch() const {
  const auto rows = static_cast<int64_t>(dataset_.examples.size());
  const int64_t batches = (rows + shape_.batch - 1) / shape_.batch;
  return (batches + shape_.accumulation - 1) / shape_.accumulation;
}

// Fisher-Yates with its own bounded draw: std::shuffle's order is not the same everywhere.
void BatchLoader::StartEpoch() {
  order_.resize(dataset_.examples.size());
  std::iota(order_.begin(), order_.end(), size_t{0});
  if (shuffle_) {
    std::mt19937_64 random(seed_ * 0x9e3779b97f4a7c15ull + epoch_);
    for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random() % i]);
  }
  next_ = 0;
  ++epoch_;
}

DataPosition BatchLoader::position() const {
  return {.epoch = static_cast<int64_t>(epoch_), .row = static_cast<int64_t>(next_)};
}

void BatchLoader::Seek(const DataPosition& position) {
  const auto rows = static_cast<int64_t>(dataset_.examples.size());
  if (position.epoch < 1 || position.row < 0 || position.row > rows) {
    Fail("data", "expected a position within {} examples, got example {} of epoch {}", rows,
         position.row, position.epoch);
  }
  epoch_ = static_cast<uint64_t>(position.epoch) - 1;
  StartEpoch();
  next_ = static_cast<size_t>(position.row);
}

Batch BatchLoader::Next() {
  if (next_ == order_.size()) StartEpoch();
  Batch batch;
  batch.ids.assign(static_cast<size_t>(shape_.accumulation * shape_.batch * shape_.seq), 0);
  const auto slots = static_cast<size_t>(shape_.loss_positions);
  batch.positions.assign(static_cast<size_t>(shape_.accumulation) * slots, 0);
  batch.labels.assign(batch.positions.size(), nn::kIgnoredLabel);
  for (int64_t micro = 0; micro < shape_.accumulation; ++micro) {
    size_t slot = 0;
    for (int64_t row = 0; row < shape_.batch && next_ < order_.size(); ++row) {
      const Example& example = dataset_.examples[order_[next_++]];
      const int64_t start = (micro * shape_.batch + row) * shape_.seq;
      std::copy(example.ids.begin(), example.ids.end(), batch.ids.begin() + start);
      batch.tokens += static_cast<int64_t>(example.ids.size());
      for (size_t i = 0; i + 1 < example.labels.size(); ++i) {
        const int32_t label = example.labels[i + 1];
        if (label == nn::kIgnoredLabel) continue;
        const auto position = static_cast<size_t>(row * shape_.seq) + i;
        const size_t at = shape_.gathers() ? slot++ : position;
        SOPHIA_CHECK(at < slots);
        const size_t index = static_cast<size_t>(micro) * slots + at;
        batch.positions[index] = static_cast<int32_t>(position);
        batch.labels[index] = label;
        ++batch.trained_tokens;
      }
    }
  }
  return batch;
}

}  // namespace sophia::train
