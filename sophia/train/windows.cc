#include "sophia/train/windows.h"

#include <algorithm>
#include <numeric>
#include <random>

namespace sophia::train {
namespace {

constexpr uint64_t kSpread = 0x9e3779b97f4a7c15ull;

// Fisher-Yates with its own bounded draw: std::shuffle's order is not the same everywhere.
template <typename T>
void Shuffle(std::vector<T>& items, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random() % i]);
}

}  // namespace

const std::vector<size_t>& Windows::Order(int64_t epoch) {
  if (epoch_ == epoch) return order_;
  epoch_ = epoch;
  order_.resize(source_.size());
  std::iota(order_.begin(), order_.end(), size_t{0});
  if (options_.shuffle) {
    Shuffle(order_, options_.seed * kSpread + static_cast<uint64_t>(epoch) - 1);
  }
  return order_;
}

std::vector<std::vector<size_t>> Windows::Lay(const std::vector<ExampleSize>& sizes) const {
  if (options_.packs) return Pack(sizes, options_.limits);
  std::vector<std::vector<size_t>> sequences;
  for (size_t i = 0; i < sizes.size(); ++i) sequences.push_back({i});
  return sequences;
}

Window Windows::At(int64_t epoch, size_t first) {
  const std::vector<size_t>& order = Order(epoch);
  Window window{.epoch = epoch, .first = first, .rows = std::min(kRows, order.size() - first)};
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
  if (!options_.packs) return static_cast<int64_t>(sizes.size());
  const std::vector<size_t>& order = Order(epoch);
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
