#include "sophia/train/packing.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "sophia/base/error.h"

namespace sophia::train {
namespace {

struct Room {
  size_t sequence;
  int64_t trained;
};

}  // namespace

std::vector<std::vector<size_t>> Pack(std::span<const ExampleSize> examples,
                                      const SequenceLimits& limits) {
  std::vector<size_t> order(examples.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [&](size_t i) { return examples[i].tokens; });
  std::vector<std::vector<size_t>> sequences;
  std::multimap<int64_t, Room> rooms;  // by tokens
  for (const size_t i : order) {
    const int64_t tokens = examples[i].tokens;
    const int64_t trained = examples[i].trained;
    SOPHIA_CHECK(tokens <= limits.tokens && trained <= limits.trained);
    const auto best = std::find_if(rooms.lower_bound(tokens), rooms.end(), [&](const auto& room) {
      return room.second.trained >= trained;
    });
    if (best == rooms.end()) {
      rooms.emplace(limits.tokens - tokens, Room{sequences.size(), limits.trained - trained});
      sequences.push_back({i});
      continue;
    }
    auto room = rooms.extract(best);
    room.key() -= tokens;
    room.mapped().trained -= trained;
    sequences[room.mapped().sequence].push_back(i);
    rooms.insert(std::move(room));
  }
  for (std::vector<size_t>& sequence : sequences) std::ranges::sort(sequence);
  std::ranges::sort(sequences);
  return sequences;
}

}  // namespace sophia::train
