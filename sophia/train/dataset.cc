#include "sophia/train/dataset.h"

#include <algorithm>
#include <numeric>

#include "sophia/base/error.h"

namespace sophia::train {
namespace {

// Of a stream, what is checked before a run begins.
constexpr size_t kFirstRows = 1024;

std::vector<size_t> Numbers(size_t begin, size_t end) {
  std::vector<size_t> numbers(end - begin);
  std::iota(numbers.begin(), numbers.end(), begin);
  return numbers;
}

}  // namespace

ExampleSize SizeOf(const Example& example) {
  return {static_cast<int32_t>(example.ids.size()), static_cast<int32_t>(TrainedTokens(example))};
}

std::vector<Example> Dataset::Get(std::span<const size_t> rows) const {
  std::vector<Example> chosen;
  chosen.reserve(rows.size());
  for (const size_t row : rows) chosen.push_back(examples[row]);
  return chosen;
}

std::optional<std::vector<ExampleSize>> Dataset::sizes() const {
  std::vector<ExampleSize> sizes;
  sizes.reserve(examples.size());
  for (const Example& example : examples) sizes.push_back(SizeOf(example));
  return sizes;
}

std::string Summary(const Dataset& dataset) {
  std::string text = fmt::format("{} examples", dataset.examples.size());
  if (dataset.truncated > 0) {
    text += fmt::format(", {} truncated to max_length", dataset.truncated);
  }
  if (dataset.dropped > 0) {
    text += fmt::format(", {} dropped without a trained token", dataset.dropped);
  }
  if (dataset.unlearnt_turns > 0) {
    text += fmt::format(", {} assistant turns not found in the rendered conversation, not learnt",
                        dataset.unlearnt_turns);
  }
  return text;
}

Dataset LoadDataset(const EncodedRows& rows) {
  Dataset dataset;
  std::vector<RowStats> stats;
  size_t next = 0;
  for (const size_t part : rows.parts()) {
    const size_t before = dataset.examples.size();
    size_t number = next;
    for (EncodedRow& row : rows.Get(Numbers(next, next + part))) {
      stats.push_back(StatsOf(row));
      dataset.unlearnt_turns += row.example.unlearnt_turns;
      if (stats.back().is_truncated()) ++dataset.truncated;
      if (stats.back().trained > 0) {
        dataset.examples.push_back(std::move(row.example));
        dataset.rows.push_back(number);
      } else {
        ++dataset.dropped;
      }
      ++number;
    }
    next += part;
    dataset.part_sizes.push_back(dataset.examples.size() - before);
  }
  CheckMasks(stats, rows.max_length(), rows.Name());
  return dataset;
}

StreamedRows::StreamedRows(EncodedRows rows) : rows_(std::move(rows)) {
  std::vector<RowStats> stats;
  for (const EncodedRow& row : rows_.Get(Numbers(0, std::min(rows_.size(), kFirstRows)))) {
    stats.push_back(StatsOf(row));
  }
  CheckMasks(stats, rows_.max_length(), rows_.Name());
}

std::vector<Example> StreamedRows::Get(std::span<const size_t> rows) const {
  std::vector<Example> examples;
  for (EncodedRow& row : rows_.Get(rows)) {
    if (TrainedTokens(row.example) > 0) examples.push_back(std::move(row.example));
  }
  return examples;
}

}  // namespace sophia::train
