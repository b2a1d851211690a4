#pragma once

#include <string>
#include <string_view>

namespace sophia::io::jinja {

inline bool IsDigitByte(char c) { return c >= '0' && c <= '9'; }

struct NumberLiteral {
  size_t bytes;
  bool is_float;
};

// The Python number that `text`, which starts with a digit, begins with. Behind a dot, as in `x.0`,
// it has neither fraction nor exponent.
NumberLiteral ScanNumber(std::string_view text, bool after_dot);

// What stands between the quotes of a Python string literal, its escapes resolved; no backslash is
// the last byte alone. Throws Fault for what is no escape or not a character.
std::string Unescape(std::string_view raw);

}  // namespace sophia::io::jinja
