#pragma once

#include <cmath>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/pallas/val.h"

namespace sophia::kernels {

// The values in [0, 1] of bitsandbytes' 8-bit dynamic map (https://arxiv.org/abs/1511.04561),
// rising. Place first - 1 is zero. The 7 decades d = 0 … 6 follow: places first·2^d to
// first·2^(d+1) - 1 are the middles of as many equal parts of [0.1, 1], times 10^(d - 6). Place
// first·128 is one. The whole map is computed, so that no table has to be looked up.
struct DynamicMap {
  int64_t first;  // parts of the lowest decade

  static constexpr int kDecades = 7;

  double low(int decade) const { return static_cast<double>(first << decade); }
  double one() const { return low(kDecades); }
  static double base(int decade) { return std::pow(10.0, decade - kDecades); }

  double Value(int64_t place) const {
    const auto at = static_cast<double>(place);
    if (at < low(0)) return 0;
    if (at >= one()) return 1;
    const int decade = std::ilogb(at / low(0));
    return base(decade) * ((at + 0.5) * 9 / low(decade) - 8);
  }
  // Above it, a value is nearer to that place than to the one before.
  double Threshold(double place) const {
    const auto at = static_cast<int64_t>(place);
    return (Value(at - 1) + Value(at)) / 2;
  }
};

// Of magnitudes: one bit of the code is the sign.
inline constexpr DynamicMap kSignedMap{.first = 1};
inline constexpr DynamicMap kUnsignedMap{.first = 2};

// FullLike of tensors, for values of kernels.
inline pallas::Val FullLike(const pallas::Val& like, double value) {
  return pallas::Full(like.shape(), value);
}

// The values at places, whole numbers in f32: exact but for the rounding of base(decade) and of the
// result.
template <typename T>
T ValueAt(const DynamicMap& map, const T& place) {
  T base = FullLike(place, map.base(0));
  T slope = FullLike(place, 9 / map.low(0));
  for (int decade = 1; decade < map.kDecades; ++decade) {
    const T reached = Ge(place, map.low(decade));
    base = Select(reached, map.base(decade), base);
    slope = Select(reached, 9 / map.low(decade), slope);
  }
  const T value = base * ((place + 0.5) * slope - 8.0);
  return Select(Ge(place, map.one()), 1.0, Select(Ge(place, map.low(0)), value, 0.0));
}

// The places of the values nearest to x, f32 of at least 0.
template <typename T>
T NearestPlace(const DynamicMap& map, const T& x) {
  T low = FullLike(x, map.low(0));
  T scale = FullLike(x, map.low(0) / (9 * map.base(0)));
  for (int decade = 1; decade < map.kDecades; ++decade) {
    const T reached = Ge(x, map.Threshold(map.low(decade)));
    low = Select(reached, map.low(decade), low);
    scale = Select(reached, map.low(decade) / (9 * map.base(decade)), scale);
  }
  const T within = Floor(x * scale + low * (8.0 / 9));
  const T place = Max(Min(within, low * 2.0 - 1.0), low);
  return Select(Ge(x, map.Threshold(map.one())), map.one(),
                Select(Ge(x, map.Threshold(map.low(0))), place, map.low(0) - 1));
}

}  // namespace sophia::kernels
