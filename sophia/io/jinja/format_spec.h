#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sophia/io/jinja/value.h"

namespace sophia::io::jinja {

constexpr int kMaxWidth = 1 << 20;

// Python's format specification: [[fill]align][sign][#][0][width][grouping][.precision][type].
struct Spec {
  char32_t fill = U' ';
  char align = '\0';
  char sign = '-';
  bool alternate = false;
  int width = 0;
  char grouping = '\0';
  std::optional<int> precision;
  char type = '\0';
};

// `prefix` and `body` filled up to the width; `default_align` where the specification has none.
std::string Pad(std::string body, std::string_view prefix, const Spec& spec, char default_align);
std::string SignOf(bool negative, const Spec& spec);
std::string FormatInt(Int value, const Spec& spec);
std::string FormatFloat(double value, const Spec& spec);
std::string FormatText(std::string_view text, const Spec& spec);
// Python's format(value, specification); Fault where Python raises.
std::string FormatValue(const Value& value, std::string_view specification);

}  // namespace sophia::io::jinja
