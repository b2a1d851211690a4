#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sophia::train {

// Rows to train on and rows held out for evaluation, both in ascending order.
struct RowSplit {
  std::vector<size_t> train;
  std::vector<size_t> evaluation;
};

// Holds out ceil(share * rows) rows, as scikit-learn's train_test_split counts them, drawn by
// `seed`. share: above 0 and below 1. Throws Error when no row is left to train on.
RowSplit SplitRows(size_t rows, double share, uint64_t seed);

}  // namespace sophia::train
