#pragma once

#include <limits>
#include <optional>
#include <string>

namespace sophia::cli {

// The numbers that an option takes: an interval, of which an open end is not part, and `also`.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool high_open = false;
  std::optional<double> also = std::nullopt;  // outside the interval, with a meaning of its own

  bool Contains(double number) const;
  // "of at least 1", "above 0 and at most 1", "from 1 to 8, or -1"; empty if it has no end.
  std::string ToString() const;
};

constexpr Range AtLeast(double low) { return {.low = low}; }
constexpr Range Above(double low) { return {.low = low, .low_open = true}; }
constexpr Range From(double low, double high) { return {.low = low, .high = high}; }

}  // namespace sophia::cli
