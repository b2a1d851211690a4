#pragma once

#include <string>
#include <vector>

#include "sophia/train/example_source.h"
#include "sophia/train/row_stats.h"

namespace sophia::train {

// Encoded rows in memory, without those that have no trained token.
struct Dataset final : ExampleSource {
  std::vector<Example> examples;
  std::vector<size_t> rows;        // of which EncodedRows made each
  std::vector<size_t> part_sizes;  // examples of each of the data; empty: all of one
  int64_t truncated = 0;           // rows cut to max_length
  int64_t dropped = 0;             // rows without a trained token within max_length
  int64_t unlearnt_turns = 0;      // of all rows

  size_t size() const override { return examples.size(); }
  std::vector<size_t> parts() const override {
    return part_sizes.empty() ? std::vector<size_t>{size()} : part_sizes;
  }
  std::vector<Example> Get(std::span<const size_t> rows) const override;
  std::optional<std::vector<ExampleSize>> sizes() const override;
};

// Rows that are encoded whenever they are asked for: memory does not grow with what they hold.
class StreamedRows final : public ExampleSource {
 public:
  // Throws Error for masks of the first rows that CheckMasks refuses.
  explicit StreamedRows(EncodedRows rows);

  const EncodedRows& rows() const { return rows_; }
  size_t size() const override { return rows_.size(); }
  std::vector<size_t> parts() const override { return rows_.parts(); }
  std::vector<Example> Get(std::span<const size_t> rows) const override;
  std::optional<std::vector<ExampleSize>> sizes() const override { return std::nullopt; }

 private:
  EncodedRows rows_;
};

// "3 examples, 2 truncated to max_length": what there is and what was cut or dropped.
std::string Summary(const Dataset& dataset);

// Encodes all rows. Throws Error for masks that CheckMasks refuses.
Dataset LoadDataset(const EncodedRows& rows);

}  // namespace sophia::train
