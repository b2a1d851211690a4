#include "sophia/io/jinja/literals.h"

#include <algorithm>
#include <cctype>

#include "sophia/io/jinja/print.h"
#include "sophia/io/jinja/text.h"
#include "sophia/io/jinja/value.h"

namespace sophia::io::jinja {
namespace {

char At(std::string_view text, size_t index) { return index < text.size() ? text[index] : '\0'; }

// Digits with single underscores between them, from `begin` on.
size_t DigitsAt(std::string_view text, size_t begin) {
  size_t end = begin;
  while (IsDigitByte(At(text, end)) ||
         (end > begin && At(text, end) == '_' && IsDigitByte(At(text, end + 1)))) {
    ++end;
  }
  return end - begin;
}

// 0x1F, 0o17, 0b1; otherwise the zeros alone, as a number does not begin with 0.
size_t PrefixedInteger(std::string_view text, size_t decimal_end) {
  const char mark = static_cast<char>(At(text, 1) | 0x20);
  if (mark == 'x' || mark == 'o' || mark == 'b') {
    const auto digit = [&](char c) {
      return mark == 'x'   ? std::isxdigit(static_cast<unsigned char>(c)) != 0
             : mark == 'o' ? c >= '0' && c <= '7'
                           : c == '0' || c == '1';
    };
    size_t end = 2;
    while (digit(At(text, end)) || (At(text, end) == '_' && digit(At(text, end + 1)))) ++end;
    if (end > 2) return end;
  }
  size_t zeros = 0;
  while (zeros < decimal_end &&
         (At(text, zeros) == '0' || (At(text, zeros) == '_' && At(text, zeros + 1) == '0'))) {
    ++zeros;
  }
  return zeros;
}

std::string CodePoint(std::string_view digits, size_t count, int base) {
  const bool valid =
      digits.size() == count && std::all_of(digits.begin(), digits.end(), [](char c) {
        return std::isxdigit(static_cast<unsigned char>(c)) != 0;
      });
  if (!valid) Raise("expected {} hexadecimal digits in a string escape, got '{}'", count, digits);
  const auto code = static_cast<char32_t>(*ParseInt(digits, base));
  if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
    Raise("expected a Unicode character in a string escape, got '{}'", digits);
  }
  return Encode({&code, 1});
}

}  // namespace

NumberLiteral ScanNumber(std::string_view text, bool after_dot) {
  size_t end = DigitsAt(text, 0);
  bool is_float = false;
  if (!after_dot && At(text, end) == '.' && DigitsAt(text, end + 1) > 0) {
    end += 1 + DigitsAt(text, end + 1);
    is_float = true;
  }
  if (!after_dot && (At(text, end) | 0x20) == 'e') {
    const size_t sign = At(text, end + 1) == '+' || At(text, end + 1) == '-' ? 1 : 0;
    if (const size_t digits = DigitsAt(text, end + 1 + sign); digits > 0) {
      end += 1 + sign + digits;
      is_float = true;
    }
  }
  if (!is_float && At(text, 0) == '0') end = PrefixedInteger(text, end);
  return {end, is_float};
}

std::string Unescape(std::string_view raw) {
  std::string out;
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\') {
      out += raw[i];
      continue;
    }
    static constexpr std::string_view kMarks = "\\'\"abfnrtv";
    static constexpr std::string_view kMeant = "\\'\"\a\b\f\n\r\t\v";
    const char mark = raw[++i];
    if (const size_t known = kMarks.find(mark); known != std::string_view::npos) {
      out += kMeant[known];
    } else if (mark == 'x' || mark == 'u' || mark == 'U') {
      const size_t digits = mark == 'x' ? 2 : mark == 'u' ? 4 : 8;
      out += CodePoint(raw.substr(i + 1, digits), digits, 16);
      i += digits;
    } else if (mark >= '0' && mark <= '7') {
      size_t digits = 1;
      while (digits < 3 && i + digits < raw.size() && raw[i + digits] >= '0' &&
             raw[i + digits] <= '7')
        ++digits;
      out += CodePoint(raw.substr(i, digits), digits, 8);
      i += digits - 1;
    } else if (mark == 'N') {
      Raise("expected an escape other than \\N in a string");
    } else if (mark != '\n') {
      out += {'\\', mark};
    }
  }
  return out;
}

}  // namespace sophia::io::jinja
