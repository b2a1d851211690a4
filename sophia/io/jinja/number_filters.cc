#include <cmath>
#include <string>
#include <vector>

#include "sophia/io/jinja/builtins.h"
#include "sophia/io/jinja/ops.h"
#include "sophia/io/jinja/print.h"

namespace sophia::io::jinja {
namespace {

Value AbsFilter(Runtime&, const Value& self, const Bound&) {
  RequireDefined(self);
  if (const auto integer = self.integer()) return *integer < 0 ? -*integer : *integer;
  if (const auto number = self.number()) return std::fabs(*number);
  Raise("bad operand type for abs(): '{}'", TypeName(self));
}

// int(number) towards zero, or nullopt for what Python refuses.
std::optional<Int> Truncated(double number) {
  if (!std::isfinite(number)) return std::nullopt;
  if (std::fabs(number) > 0x1p120)
    Raise("expected a number below 2^120, got {}", FloatRepr(number));
  return static_cast<Int>(number);
}

Value IntFilter(Runtime&, const Value& self, const Bound& bound) {
  RequireDefined(self);
  Value fallback = bound.Has(0) ? bound[0] : Value(0);
  if (const auto integer = self.integer()) return *integer;
  if (self.is_float()) {
    const auto whole = Truncated(*self.number());
    return whole ? Value(*whole) : fallback;
  }
  if (!self.is_string()) return fallback;
  const Int base = bound.Integer(1, 10);
  if (base != 0 && (base < 2 || base > 36)) return fallback;
  if (const auto whole = ParseInt(*self.text(), static_cast<int>(base))) return *whole;
  const auto number = ParseFloat(*self.text());
  const auto whole = number ? Truncated(*number) : std::nullopt;
  return whole ? Value(*whole) : fallback;
}

Value FloatFilter(Runtime&, const Value& self, const Bound& bound) {
  RequireDefined(self);
  if (const auto number = self.number()) return *number;
  const auto parsed = self.is_string() ? ParseFloat(*self.text()) : std::nullopt;
  if (parsed) return *parsed;
  return bound.Has(0) ? bound[0] : Value(0.0);
}

// Python's round(integer, -digits): half to even.
Int RoundInt(Int value, Int digits) {
  Int unit = 1;
  for (Int i = 0; i < digits; ++i) {
    if (unit > (Int{1} << 100)) return 0;
    unit *= 10;
  }
  Int quotient = value / unit;
  const Int rest = value % unit;
  const Int twice = 2 * (rest < 0 ? -rest : rest);
  if (twice > unit || (twice == unit && quotient % 2 != 0)) quotient += value < 0 ? -1 : 1;
  return quotient * unit;
}

// Python's round(number, digits): the exact decimal value, half to even.
double RoundFloat(double value, Int digits) {
  if (!std::isfinite(value) || digits > 330) return value;
  if (digits < -310) return 0 * value;
  if (digits >= 0) return std::stod(fmt::format("{:.{}f}", value, static_cast<int>(digits)));
  const double unit = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / unit) * unit;
}

Value RoundFilter(Runtime&, const Value& self, const Bound& bound) {
  RequireDefined(self);
  const Int digits = bound.Integer(0, 0);
  const std::string method = bound.Text(1, "common");
  if (method != "common" && method != "ceil" && method != "floor") {
    Raise("method must be common, ceil or floor");
  }
  if (!self.is_number()) Raise("type {} doesn't define __round__ method", TypeName(self));
  if (method == "common") {
    if (self.is_float()) return RoundFloat(*self.number(), digits);
    return digits >= 0 ? *self.integer() : RoundInt(*self.integer(), -digits);
  }
  const double unit = std::pow(10.0, static_cast<double>(digits));
  const double scaled = *self.number() * unit;
  return (method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit;
}

Value SumFilter(Runtime& runtime, const Value& self, const Bound& bound) {
  Value total = bound.Has(1) ? bound[1] : Value(0);
  if (total.is_string()) Raise("sum() can't sum strings [use ''.join(seq) instead]");
  std::vector<Value> items = Items(self);
  for (const Value& item : items) {
    const Value part = bound[0].is_none() ? item : ByPath(runtime, item, bound[0]);
    total = Apply(runtime, BinaryOp::kAdd, total, part);
  }
  return total;
}

Value LengthFilter(Runtime&, const Value& self, const Bound&) {
  const auto length = Length(self);
  if (!length) Raise("object of type '{}' has no len()", TypeName(self));
  return *length;
}

}  // namespace

std::vector<Builtin> NumberFilters() {
  return {
      {"abs", {}, 0, AbsFilter},
      {"count", {}, 0, LengthFilter},
      {"float", {"default"}, 0, FloatFilter},
      {"int", {"default", "base"}, 0, IntFilter},
      {"length", {}, 0, LengthFilter},
      {"round", {"precision", "method"}, 0, RoundFilter},
      {"sum", {"attribute", "start"}, 0, SumFilter},
  };
}

}  // namespace sophia::io::jinja
