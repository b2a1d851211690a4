#include "sophia/train/windows.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sophia/base/error.h"
#include "sophia/train/shuffle.h"

namespace sophia::train {
namespace {

constexpr uint64_t kSpread = 0x9e3779b97f4a7c15ull;

}  // namespace

const std::vector<size_t>& Windows::Order(int64_t epoch) {
  if (epoch_ == epoch) return order_;
  epoch_ = epoch;
  order_ = Draw(epoch);
  if (options_.shuffle) {
    Shuffle(order_, options_.seed * kSpread + static_cast<uint64_t>(epoch) - 1);
  }
  return order_;
}

// The rows of an epoch in their files' order.
std::vector<size_t> Windows::Draw(int64_t epoch) const {
  const std::vector<size_t> parts = source_.parts();
  SOPHIA_CHECK(options_.weights.empty() || options_.weights.size() == parts.size());
  std::vector<size_t> drawn;
  size_t begin = 0;
  for (size_t part = 0; part < parts.size(); begin += parts[part++]) {
    std::vector<size_t> rows(parts[part]);
    std::iota(rows.begin(), rows.end(), begin);
    const double weight = options_.weights.empty() ? 1 : options_.weights[part];
    const double whole = std::floor(weight);
    for (double i = 0; i < whole; ++i) drawn.insert(drawn.end(), rows.begin(), rows.end());
    const auto rest = std::lround((weight - whole) * static_cast<double>(rows.size()));
    if (rest == 0) continue;
    Shuffle(rows, (options_.seed * kSpread + part) * kSpread + static_cast<uint64_t>(epoch));
    rows.resize(static_cast<size_t>(rest));
    std::ranges::sort(rows);
    drawn.insert(drawn.end(), rows.begin(), rows.end());
  }
  return drawn;
}

std::vector<std::vector<size_t>> Windows::Lay(const std::vector<ExampleSize>& sizes) const {
  if (options_.packs) return Pack(sizes, options_.limits);
  std::vector<std::vector<size_t>> sequences;
  for (size_t i = 0; i < sizes.size(); ++i) sequences.push_back({i});
  return sequences;
}

Window Windows::At(int64_t epoch, size_t first) {
  const std::vector<size_t>& order = Order(epoch);
  Window window{.epoch = epoch,
                .first = first,
                .rows = std::min(kRows, order.size() - first),
                .epoch_rows = order.size()};
  window.examples = source_.Get(std::span(order).subspan(first, window.rows));
  std::vector<ExampleSize> sizes;
  for (const Example& example : window.examples) sizes.push_back(SizeOf(example));
  window.sequences = Lay(sizes);
  // Packing leaves the longest rows in front.
  if (options_.packs && options_.shuffle) {
    Shuffle(window.sequences,
            (options_.seed * kSpread + static_cast<uint64_t>(epoch)) * kSpread + first);
  }
  return window;
}

int64_t Windows::Count(int64_t epoch, const std::vector<ExampleSize>& sizes) {
  const std::vector<size_t>& order = Order(epoch);
  if (!options_.packs) return static_cast<int64_t>(order.size());
  int64_t count = 0;
  for (size_t first = 0; first < order.size(); first += kRows) {
    std::vector<ExampleSize> of_window;
    for (size_t i = first; i < std::min(order.size(), first + kRows); ++i) {
      of_window.push_back(sizes[order[i]]);
    }
    count += static_cast<int64_t>(Lay(of_window).size());
  }
  return count;
}

}  // namespace sophia::train
