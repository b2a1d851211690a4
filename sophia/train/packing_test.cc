#include "sophia/train/packing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <set>

#include "sophia/nn/loss.h"
#include "sophia/train/batches.h"

namespace sophia::train {
namespace {

using ::testing::ElementsAre;

std::vector<ExampleSize> RandomSizes(std::mt19937& random, size_t count, int32_t most) {
  std::vector<ExampleSize> sizes;
  for (size_t i = 0; i < count; ++i) {
    const auto tokens = static_cast<int32_t>(random() % static_cast<uint32_t>(most)) + 1;
    sizes.push_back({tokens, static_cast<int32_t>(random() % static_cast<uint32_t>(tokens + 1))});
  }
  return sizes;
}

// The fewest sequences, by trying all ways.
size_t Fewest(const std::vector<ExampleSize>& sizes, const SequenceLimits& limits, size_t next,
              std::vector<ExampleSize>& sequences) {
  if (next == sizes.size()) return sequences.size();
  size_t fewest = sizes.size();
  const auto [tokens, trained] = sizes[next];
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (sequences[i].tokens + tokens > limits.tokens) continue;
    if (sequences[i].trained + trained > limits.trained) continue;
    sequences[i].tokens += tokens;
    sequences[i].trained += trained;
    fewest = std::min(fewest, Fewest(sizes, limits, next + 1, sequences));
    sequences[i].tokens -= tokens;
    sequences[i].trained -= trained;
  }
  sequences.push_back(sizes[next]);
  fewest = std::min(fewest, Fewest(sizes, limits, next + 1, sequences));
  sequences.pop_back();
  return fewest;
}

TEST(PackTest, EveryExampleOnceWithinTheLimitsAndNearlyAsFewSequencesAsPossible) {
  std::mt19937 random(1);
  size_t packed = 0;
  size_t fewest = 0;
  for (int round = 0; round < 200; ++round) {
    const std::vector<ExampleSize> sizes = RandomSizes(random, 8, 10);
    const SequenceLimits limits{.tokens = 12, .trained = 10};
    const auto sequences = Pack(sizes, limits);
    std::multiset<size_t> seen;
    for (const std::vector<size_t>& sequence : sequences) {
      ExampleSize sum;
      for (const size_t i : sequence) {
        seen.insert(i);
        sum.tokens += sizes[i].tokens;
        sum.trained += sizes[i].trained;
      }
      EXPECT_LE(sum.tokens, limits.tokens);
      EXPECT_LE(sum.trained, limits.trained);
    }
    EXPECT_EQ(seen.size(), sizes.size());
    EXPECT_EQ(std::set<size_t>(seen.begin(), seen.end()).size(), sizes.size());
    std::vector<ExampleSize> none;
    const size_t best = Fewest(sizes, limits, 0, none);
    EXPECT_LE(sequences.size(), best + 1);
    packed += sequences.size();
    fewest += best;
  }
  EXPECT_LE(static_cast<double>(packed), 1.02 * static_cast<double>(fewest));
}

TEST(PackTest, FillsTheSequenceWithTheLeastRoom) {
  const std::vector<ExampleSize> sizes = {{3, 0}, {6, 0}, {7, 0}, {4, 0}};
  EXPECT_THAT(Pack(sizes, {.tokens = 10, .trained = 10}),
              ElementsAre(ElementsAre(0, 2), ElementsAre(1, 3)));
}

// Example i has the ids 100 i, 100 i + 1, … of which the last half is trained.
Dataset DatasetOf(const std::vector<int32_t>& lengths) {
  Dataset dataset;
  for (int32_t i = 0; i < static_cast<int32_t>(lengths.size()); ++i) {
    Example example;
    for (int32_t t = 0; t < lengths[static_cast<size_t>(i)]; ++t) {
      example.ids.push_back(100 * i + t);
      example.labels.push_back(2 * t < lengths[static_cast<size_t>(i)] ? nn::kIgnoredLabel
                                                                       : 100 * i + t);
    }
    dataset.examples.push_back(example);
  }
  return dataset;
}

TEST(PackedBatchTest, SegmentsAndPlacesTellExamplesApart) {
  const Dataset dataset = DatasetOf({5, 2, 3, 8});
  const BatchShape shape = ShapeFor(dataset, {.batch = 2, .packing = true});
  EXPECT_TRUE(shape.packs);
  EXPECT_EQ(shape.seq, 8);
  BatchLoader loader(dataset, shape, {.shuffle = false, .seed = 0});
  EXPECT_EQ(loader.StepsOf(1), 2);
  const Batch batch = loader.Next();
  EXPECT_THAT(batch.ids, ElementsAre(0, 1, 2, 3, 4, 200, 201, 202, 100, 101, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(batch.segments, ElementsAre(1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(batch.places, ElementsAre(0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 0, 0, 0, 0, 0, 0));
  EXPECT_EQ(batch.tokens, 10);
  EXPECT_EQ(batch.trained_tokens, 4);
  std::vector<std::pair<int32_t, int32_t>> learnt;  // a position and its label
  for (size_t i = 0; i < batch.labels.size(); ++i) {
    if (batch.labels[i] != nn::kIgnoredLabel)
      learnt.push_back({batch.positions[i], batch.labels[i]});
  }
  for (const auto& [position, label] : learnt)
    EXPECT_EQ(batch.ids[static_cast<size_t>(position)] + 1, label);
}

TEST(PackedBatchTest, NothingIsPackedWhereNoTwoExamplesFit) {
  EXPECT_FALSE(ShapeFor(DatasetOf({8, 5, 4}), {.batch = 2, .packing = true}).packs);
  EXPECT_FALSE(ShapeFor(DatasetOf({8, 2, 3}), {.batch = 2, .packing = false}).packs);
  EXPECT_FALSE(ShapeFor(DatasetOf({8}), {.batch = 2, .packing = true}).packs);
}

// Rows of more than two windows, the last of them short.
Dataset LargeDataset() {
  std::mt19937 random(3);
  std::vector<int32_t> lengths;
  for (size_t i = 0; i < 2 * Windows::kRows + 100; ++i) {
    lengths.push_back(static_cast<int32_t>(random() % 30) + 2);
  }
  return DatasetOf(lengths);
}

TEST(PackedBatchTest, EveryEpochDealsEachExampleOnceInAnotherOrder) {
  const Dataset dataset = LargeDataset();
  const BatchShape shape = ShapeFor(dataset, {.batch = 4, .accumulation = 2, .packing = true});
  EXPECT_TRUE(shape.gathers());
  BatchLoader loader(dataset, shape, {.shuffle = true, .seed = 7});
  std::vector<std::vector<int32_t>> epochs;
  int64_t steps = 0;
  int64_t tokens = 0;
  while (loader.epochs() < 2) {
    const auto epoch = static_cast<size_t>(loader.epochs());
    if (epochs.size() == epoch) epochs.emplace_back();
    const Batch batch = loader.Next();
    for (size_t i = 0; i < batch.ids.size(); ++i) {
      if (batch.segments[i] > 0 && batch.places[i] == 0) epochs[epoch].push_back(batch.ids[i]);
    }
    tokens += batch.tokens;
    EXPECT_EQ(++steps == loader.StepsOf(1), loader.epochs() == 1) << steps;
  }
  EXPECT_EQ(steps, loader.StepsOf(2));
  EXPECT_EQ(loader.epochs(), 2);
  const auto capacity = shape.accumulation * shape.batch * shape.seq;
  EXPECT_GT(static_cast<double>(tokens), 0.9 * static_cast<double>(capacity * steps));
  for (const std::vector<int32_t>& epoch : epochs) {
    EXPECT_EQ(epoch.size(), dataset.examples.size());
    EXPECT_EQ(std::set<int32_t>(epoch.begin(), epoch.end()).size(), dataset.examples.size());
  }
  EXPECT_NE(epochs[0], epochs[1]);
}

TEST(PackedBatchTest, ALoaderGoesOnFromAnyPosition) {
  const Dataset dataset = LargeDataset();
  const BatchShape shape = ShapeFor(dataset, {.batch = 32, .packing = true});
  BatchLoader loader(dataset, shape, {.shuffle = true, .seed = 7});
  const int64_t steps = loader.StepsOf(2.2);
  for (int64_t i = 0; i < steps; ++i) {
    BatchLoader other(dataset, shape, {.shuffle = true, .seed = 7});
    other.Seek(loader.position());
    EXPECT_EQ(other.epochs(), loader.epochs());
    const Batch a = other.Next();
    const Batch b = loader.Next();
    EXPECT_EQ(a.ids, b.ids) << i;
    EXPECT_EQ(a.segments, b.segments) << i;
    EXPECT_EQ(a.labels, b.labels) << i;
  }
}

}  // namespace
}  // namespace sophia::train
