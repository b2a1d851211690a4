#include "sophia/base/float_bits.h"

#include <cmath>
#include <limits>

namespace sophia {
namespace {

// A binary format narrower than float: 1 sign bit, then exponent and mantissa bits.
struct Format {
  int exponent_bits;
  int mantissa_bits;
  bool has_infinity;  // without it the all-ones pattern alone is NaN and larger values are finite
};

constexpr Format kF8E5M2{5, 2, true};
constexpr Format kF8E4M3FN{4, 3, false};

constexpr int Bias(const Format& f) { return (1 << (f.exponent_bits - 1)) - 1; }

float Widen(uint32_t bits, const Format& f) {
  const uint32_t mantissa = bits & ((1u << f.mantissa_bits) - 1);
  const uint32_t exponent = (bits >> f.mantissa_bits) & ((1u << f.exponent_bits) - 1);
  const float sign = (bits >> (f.exponent_bits + f.mantissa_bits)) != 0 ? -1.0f : 1.0f;
  const uint32_t top_exponent = (1u << f.exponent_bits) - 1;
  if (exponent == top_exponent) {
    if (f.has_infinity) {
      return mantissa == 0 ? sign * std::numeric_limits<float>::infinity()
                           : std::numeric_limits<float>::quiet_NaN();
    }
    if (mantissa == (1u << f.mantissa_bits) - 1) return std::numeric_limits<float>::quiet_NaN();
  }
  const int scale = 1 - Bias(f) - f.mantissa_bits;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), scale);
  const uint32_t significand = mantissa | (1u << f.mantissa_bits);
  return sign * std::ldexp(static_cast<float>(significand), scale + static_cast<int>(exponent) - 1);
}

uint32_t Narrow(float value, const Format& f) {
  const int width = f.exponent_bits + f.mantissa_bits;
  const uint32_t sign = std::signbit(value) ? 1u << width : 0u;
  const uint32_t top_exponent = ((1u << f.exponent_bits) - 1) << f.mantissa_bits;
  const uint32_t nan = f.has_infinity ? top_exponent | (1u << (f.mantissa_bits - 1))
                                      : top_exponent | ((1u << f.mantissa_bits) - 1);
  const uint32_t overflow = f.has_infinity ? top_exponent : nan;
  if (std::isnan(value)) return sign | nan;
  if (std::isinf(value)) return sign | overflow;
  const float magnitude = std::fabs(value);
  if (magnitude == 0.0f) return sign;
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  exponent -= 1;  // magnitude = 1.x * 2^exponent
  const int smallest = 1 - Bias(f);
  const int unit = (exponent < smallest ? smallest : exponent) - f.mantissa_bits;
  const auto steps = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, -unit)));
  // `steps` counts units in the last place; carries run into the exponent field by themselves.
  const int field = exponent < smallest ? 0 : exponent - smallest;
  const uint32_t encoded = (static_cast<uint32_t>(field) << f.mantissa_bits) + steps;
  const uint32_t largest = f.has_infinity ? top_exponent - 1 : nan - 1;
  return sign | (encoded > largest ? overflow : encoded);
}

}  // namespace

float F8E4M3FNToFloat(uint8_t bits) { return Widen(bits, kF8E4M3FN); }
float F8E5M2ToFloat(uint8_t bits) { return Widen(bits, kF8E5M2); }
uint8_t FloatToF8E4M3FN(float value) { return static_cast<uint8_t>(Narrow(value, kF8E4M3FN)); }
uint8_t FloatToF8E5M2(float value) { return static_cast<uint8_t>(Narrow(value, kF8E5M2)); }

}  // namespace sophia
