#include "sophia/train/batches.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <numeric>

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"
#include "sophia/base/stopwatch.h"
#include "sophia/nn/loss.h"

namespace sophia::train {
namespace {

constexpr int64_t kRounding = 8;
// A packed sequence may have this many times the trained tokens that it has on average.
constexpr double kTrainedSlack = 1.25;

// Sums over all examples, and what bounds a batch of them.
struct Sizes {
  std::vector<int64_t> trained;  // descending
  int64_t longest = 0;
  int64_t tokens = 0;
  bool any_two_fit = false;  // into the longest
};

Sizes Measure(const Dataset& dataset) {
  Sizes sizes;
  std::vector<int64_t> lengths;
  for (const Example& example : dataset.examples) {
    lengths.push_back(static_cast<int64_t>(example.ids.size()));
    sizes.trained.push_back(TrainedTokens(example));
  }
  std::ranges::sort(sizes.trained, std::greater<>());
  std::ranges::sort(lengths);
  sizes.tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  if (lengths.empty()) return sizes;
  sizes.longest = lengths.back();
  sizes.any_two_fit = lengths.size() > 1 && lengths[0] + lengths[1] <= sizes.longest;
  return sizes;
}

// The most trained tokens of a packed sequence. Packing keeps to it.
int64_t TrainedLimit(const Sizes& sizes, int64_t seq) {
  const auto all =
      static_cast<double>(std::accumulate(sizes.trained.begin(), sizes.trained.end(), int64_t{0}));
  const double mean = all / static_cast<double>(sizes.tokens) * static_cast<double>(seq);
  const auto limit = static_cast<int64_t>(std::ceil(mean * kTrainedSlack));
  return std::min(seq, std::max(limit, sizes.trained.front()));
}

// The most trained tokens of a micro-batch in which every example is a sequence.
int64_t MostTrained(const Sizes& sizes, int64_t batch) {
  const auto count = std::min(sizes.trained.size(), static_cast<size_t>(batch));
  return std::accumulate(sizes.trained.begin(), sizes.trained.begin() + static_cast<int64_t>(count),
                         int64_t{0});
}

WindowOptions WindowOptionsOf(const BatchShape& shape, const LoaderOptions& options) {
  return {.packs = shape.packs,
          .limits = LimitsOf(shape),
          .shuffle = options.shuffle,
          .seed = options.seed,
          .weights = options.weights};
}

}  // namespace

BatchShape ShapeFor(const Dataset& dataset, const BatchOptions& options) {
  const Sizes sizes = Measure(dataset);
  BatchShape shape{.accumulation = options.accumulation, .batch = options.batch};
  shape.seq = RoundUp(sizes.longest, kRounding);
  shape.packs = options.packing && sizes.any_two_fit;
  const int64_t all = shape.batch * shape.seq;
  const int64_t most = RoundUp(
      shape.packs ? shape.batch * TrainedLimit(sizes, shape.seq) : MostTrained(sizes, shape.batch),
      kRounding);
  shape.loss_positions = most * 4 <= all * 3 ? most : all;
  return shape;
}

BatchShape FullShape(int64_t length, const BatchOptions& options) {
  const int64_t seq = RoundUp(length, kRounding);
  return {.accumulation = options.accumulation,
          .batch = options.batch,
          .seq = seq,
          .loss_positions = options.batch * seq,
          .packs = options.packing};
}

Batch EmptyBatch(const BatchShape& shape) {
  Batch batch;
  batch.ids.assign(static_cast<size_t>(shape.accumulation * shape.batch * shape.seq), 0);
  if (shape.packs) batch.segments = batch.places = batch.ids;
  const auto losses = static_cast<size_t>(shape.accumulation * shape.loss_positions);
  batch.positions.assign(losses, 0);
  batch.labels.assign(losses, nn::kIgnoredLabel);
  return batch;
}

LossSpan AddExample(const Example& example, const BatchShape& shape, FillPosition& at,
                    Batch& batch) {
  const auto length = static_cast<int64_t>(example.ids.size());
  const auto losses = static_cast<size_t>(shape.loss_positions);
  const auto first_loss = static_cast<size_t>(at.micro) * losses;
  const auto token = static_cast<size_t>(at.row * shape.seq + at.token);  // in the micro-batch
  const auto begin = at.micro * shape.batch * shape.seq + static_cast<int64_t>(token);
  std::ranges::copy(example.ids, batch.ids.begin() + begin);
  if (shape.packs) {
    std::fill_n(batch.segments.begin() + begin, length, ++at.segment);
    std::iota(batch.places.begin() + begin, batch.places.begin() + begin + length, 0);
  }
  const size_t trained_before = at.trained;
  for (size_t i = 0; i + 1 < example.ids.size(); ++i) {
    const int32_t label = example.labels[i + 1];
    if (label == nn::kIgnoredLabel) continue;
    const size_t index = shape.gathers() ? at.trained : token + i;
    SOPHIA_CHECK(index < losses);
    batch.positions[first_loss + index] = static_cast<int32_t>(token + i);
    batch.labels[first_loss + index] = label;
    ++at.trained;
  }
  batch.tokens += length;
  batch.trained_tokens += static_cast<int64_t>(at.trained - trained_before);
  at.token += length;
  if (shape.gathers()) return {trained_before, at.trained};
  return {token, token + static_cast<size_t>(length)};
}

SequenceLimits LimitsOf(const BatchShape& shape) {
  return {.tokens = shape.seq,
          .trained = shape.gathers() ? shape.loss_positions / shape.batch : shape.seq};
}

BatchLoader::BatchLoader(const ExampleSource& source, BatchShape shape,
                         const LoaderOptions& options)
    : source_(source),
      shape_(shape),
      options_(WindowOptionsOf(shape, options)),
      windows_(source, options_) {
  Load(1, 0);
}

int64_t BatchLoader::StepsOf(double epochs) const {
  const auto sizes = source_.sizes();
  SOPHIA_CHECK(sizes.has_value());
  Windows windows(source_, options_);
  const auto steps_of = [&](int64_t epoch) {
    const int64_t batches = CeilDiv(windows.Count(epoch, *sizes), shape_.batch);
    return static_cast<double>(CeilDiv(batches, shape_.accumulation));
  };
  double steps = 0;
  if (!shape_.packs) {
    steps = epochs * steps_of(1);
  } else {
    for (int64_t epoch = 1; epochs > static_cast<double>(epoch - 1); ++epoch) {
      steps += std::min(1.0, epochs - static_cast<double>(epoch - 1)) * steps_of(epoch);
    }
  }
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(steps - 1e-9)));
}

// A window, and the start of the next one.
void BatchLoader::Load(int64_t epoch, size_t first) {
  const auto start = std::chrono::steady_clock::now();
  window_ = Take(epoch, first);
  next_ = 0;
  waited_seconds_ += SecondsSince(start);
  const size_t end = window_.first + window_.rows;
  ahead_place_ =
      end == window_.epoch_rows ? std::pair{epoch + 1, size_t{0}} : std::pair{epoch, end};
  ahead_ = std::async(std::launch::async, [this, place = ahead_place_] {
    return windows_.At(place.first, place.second);
  });
}

Window BatchLoader::Take(int64_t epoch, size_t first) {
  if (ahead_.valid() && ahead_place_ == std::pair{epoch, first}) return ahead_.get();
  if (ahead_.valid()) ahead_.wait();
  return windows_.At(epoch, first);
}

// Whether this epoch has one more, which is then sequence `next_` of the window.
bool BatchLoader::HasSequence() {
  while (next_ == window_.sequences.size()) {
    const size_t end = window_.first + window_.rows;
    if (end == window_.epoch_rows) return false;
    Load(window_.epoch, end);
  }
  return true;
}

double BatchLoader::epochs() const {
  size_t rows = window_.first;
  for (size_t i = 0; i < next_; ++i) rows += window_.sequences[i].size();
  if (next_ == window_.sequences.size()) rows = window_.first + window_.rows;
  return static_cast<double>(window_.epoch - 1) +
         static_cast<double>(rows) / static_cast<double>(window_.epoch_rows);
}

DataPosition BatchLoader::position() const {
  return {.epoch = window_.epoch,
          .row = static_cast<int64_t>(window_.first),
          .sequence = static_cast<int64_t>(next_)};
}

void BatchLoader::Seek(const DataPosition& position) {
  if (ahead_.valid()) ahead_.wait();
  const auto rows =
      static_cast<int64_t>(windows_.Order(std::max<int64_t>(1, position.epoch)).size());
  if (position.epoch < 1 || position.row < 0 || position.row >= rows) {
    Fail("data", "expected a position within {} rows, got row {} of epoch {}", rows, position.row,
         position.epoch);
  }
  Load(position.epoch, static_cast<size_t>(position.row));
  const auto sequences = static_cast<int64_t>(window_.sequences.size());
  if (position.sequence < 0 || position.sequence > sequences) {
    Fail("data", "expected a position within {} sequences, got sequence {} from row {} of epoch {}",
         sequences, position.sequence, position.row, position.epoch);
  }
  next_ = static_cast<size_t>(position.sequence);
}

Batch BatchLoader::Next() {
  waited_seconds_ = 0;
  if (!HasSequence()) {
    Load(window_.epoch + 1, 0);
    if (!HasSequence()) Fail("data", "expected a row with a trained token, got none in an epoch");
  }
  Batch batch = EmptyBatch(shape_);
  for (int64_t micro = 0; micro < shape_.accumulation; ++micro) {
    size_t trained = 0;
    for (int64_t row = 0; row < shape_.batch && HasSequence(); ++row, ++next_) {
      FillPosition at{.micro = micro, .row = row, .trained = trained};
      for (const size_t one : window_.sequences[next_]) {
        AddExample(window_.examples[one], shape_, at, batch);
      }
      trained = at.trained;
    }
  }
  batch.waited_seconds = waited_seconds_;
  return batch;
}

}  // namespace sophia::train
