#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sophia/io/jinja/value.h"

namespace sophia::io::jinja {

// Python's repr(int), repr(float), repr(str), repr(value) and str(value).
std::string IntRepr(Int value);
std::string FloatRepr(double value);
std::string StringRepr(std::string_view text);
std::string Repr(const Value& value);
std::string Str(const Value& value);

// Python's int(text, base) and float(text): surrounding white space and single underscores between
// digits are allowed. nullopt where Python raises ValueError; Fault when out of Int's range.
std::optional<Int> ParseInt(std::string_view text, int base);
std::optional<double> ParseFloat(std::string_view text);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // one level; absent puts everything on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

// Python's json.dumps(value, ...); Fault for values JSON cannot hold.
std::string ToJson(const Value& value, const JsonStyle& style);

}  // namespace sophia::io::jinja
