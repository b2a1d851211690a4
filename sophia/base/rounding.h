#pragma once

#include <concepts>

namespace sophia {

// Of numbers that are not negative, by positive ones.
template <std::integral T>
constexpr T CeilDiv(T value, T by) {
  return (value + by - 1) / by;
}
template <std::integral T>
constexpr T RoundUp(T value, T multiple) {
  return CeilDiv(value, multiple) * multiple;
}

}  // namespace sophia
