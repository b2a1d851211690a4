#pragma once

#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace sophia::train {

// Fisher-Yates with its own bounded draw: std::shuffle's order is not the same everywhere.
template <typename T>
void Shuffle(std::vector<T>& items, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random() % i]);
}

}  // namespace sophia::train
