#include "sophia/train/row_split.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sophia/base/error.h"
#include "sophia/train/shuffle.h"

namespace sophia::train {

RowSplit SplitRows(size_t rows, double share, uint64_t seed) {
  SOPHIA_CHECK(share > 0 && share < 1);
  const auto held_out = static_cast<size_t>(std::ceil(share * static_cast<double>(rows) - 1e-9));
  if (held_out >= rows) {
    Fail("eval_split", "expected a share that leaves rows to train on, got {} of {} rows held out",
         held_out, rows);
  }
  std::vector<size_t> order(rows);
  std::iota(order.begin(), order.end(), size_t{0});
  Shuffle(order, seed);
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>(held_out);
  RowSplit split{.train = {middle, order.end()}, .evaluation = {order.begin(), middle}};
  std::ranges::sort(split.train);
  std::ranges::sort(split.evaluation);
  return split;
}

}  // namespace sophia::train
