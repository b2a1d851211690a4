#include "sophia/cli/range.h"

#include <fmt/format.h>

#include <cmath>

namespace sophia::cli {

bool Range::Contains(double number) const {
  if (also == number) return true;
  const bool above = low_open ? number > low : number >= low;
  const bool below = high_open ? number < high : number <= high;
  return above && below;
}

std::string Range::ToString() const {
  std::string text;
  const bool has_high = std::isfinite(high);
  if (has_high && !low_open && !high_open) {
    text = fmt::format("from {} to {}", low, high);
  } else {
    if (std::isfinite(low)) text = fmt::format("{} {}", low_open ? "above" : "of at least", low);
    if (has_high) text += fmt::format(" and {} {}", high_open ? "below" : "at most", high);
  }
  if (also) text += fmt::format(", or {}", *also);
  return text;
}

}  // namespace sophia::cli
