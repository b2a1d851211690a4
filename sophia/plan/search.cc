#include "sophia/plan/search.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sophia::plan {
namespace {

constexpr int kMostTries = 6;

struct Probe {
  int64_t units;
  int64_t need;
};

// Where a line through both reaches the limit, strictly between them.
int64_t Interpolated(const Probe& fits, const Probe& fails, int64_t limit) {
  const double share = static_cast<double>(limit - fits.need) /
                       static_cast<double>(std::max<int64_t>(fails.need - fits.need, 1));
  const double units = share * static_cast<double>(fails.units - fits.units);
  return std::clamp(fits.units + static_cast<int64_t>(std::floor(units)), fits.units + 1,
                    fails.units - 1);
}

}  // namespace

std::optional<int64_t> LongestThatFits(const std::function<int64_t(int64_t length)>& need,
                                       int64_t limit, const SearchRange& range) {
  const auto probe = [&](int64_t units) -> Probe { return {units, need(units * range.unit)}; };
  Probe fits = probe(1);
  if (fits.need > limit) return std::nullopt;
  Probe fails = probe(range.most / range.unit);
  if (fails.need <= limit) return fails.units * range.unit;
  // Where the need bends, lines move one end only; then halving moves the other.
  int same_end = 0;
  bool moved_fits = false;
  while (fails.units - fits.units > 1) {
    const bool halve = same_end >= 2;
    const Probe next =
        probe(halve ? std::midpoint(fits.units, fails.units) : Interpolated(fits, fails, limit));
    const bool next_fits = next.need <= limit;
    same_end = !halve && same_end > 0 && next_fits == moved_fits ? same_end + 1 : 1;
    moved_fits = next_fits;
    (next_fits ? fits : fails) = next;
  }
  return fits.units * range.unit;
}

std::optional<int64_t> LongestConfirmed(const std::function<int64_t(int64_t length)>& need,
                                        const std::function<int64_t(int64_t length)>& lacks,
                                        int64_t limit, const SearchRange& range) {
  const int64_t step = limit / 100;
  for (int tries = 1; tries <= kMostTries; ++tries) {
    const std::optional<int64_t> longest = LongestThatFits(need, limit, range);
    if (!longest) break;
    const int64_t bytes = lacks(*longest);
    if (bytes <= 0) return longest;
    limit -= std::max(bytes, step << tries);
  }
  return std::nullopt;
}

}  // namespace sophia::plan
