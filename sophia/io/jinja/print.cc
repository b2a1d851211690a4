#include "sophia/io/jinja/print.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "sophia/io/jinja/text.h"

namespace sophia::io::jinja {
namespace {

std::string RangeRepr(const Sequence& range) {
  const auto& items = range.items;
  const Int first = items.empty() ? 0 : *items.front().integer();
  const Int step = items.size() < 2 ? 1 : *items[1].integer() - first;
  const Int stop = items.empty() ? 0 : *items.back().integer() + step;
  const std::string ends = fmt::format("{}, {}", IntRepr(first), IntRepr(stop));
  return step == 1 ? fmt::format("range({})", ends)
                   : fmt::format("range({}, {})", ends, IntRepr(step));
}

std::string Listed(const std::vector<Value>& items) {
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    out += Repr(items[i]);
  }
  return out;
}

std::string SequenceRepr(const Sequence& sequence) {
  const std::string items = Listed(sequence.items);
  switch (sequence.kind) {
    case SequenceKind::kList:
      return fmt::format("[{}]", items);
    case SequenceKind::kTuple:
    case SequenceKind::kGroup:
      return fmt::format("({}{})", items, sequence.items.size() == 1 ? "," : "");
    case SequenceKind::kRange:
      return RangeRepr(sequence);
    case SequenceKind::kKeys:
      return fmt::format("dict_keys([{}])", items);
    case SequenceKind::kValues:
      return fmt::format("dict_values([{}])", items);
    case SequenceKind::kItems:
      return fmt::format("dict_items([{}])", items);
    case SequenceKind::kIterator:
      return "<generator object>";
  }
  return "";
}

std::string DictRepr(const Dict& dict) {
  std::string out = "{";
  for (const auto& [key, value] : dict.entries) {
    if (out.size() > 1) out += ", ";
    out += fmt::format("{}: {}", Repr(key), Repr(value));
  }
  return out + '}';
}

// Digits without the underscores Python allows between them, or nullopt where it does not.
std::optional<std::string> DropUnderscores(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || i + 1 == text.size() ||
               !std::isalnum(static_cast<unsigned char>(text[i - 1])) ||
               !std::isalnum(static_cast<unsigned char>(text[i + 1]))) {
      return std::nullopt;
    }
  }
  return out;
}

int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

// The base that a prefix such as 0x names, which is removed; `base` otherwise.
int TakePrefix(std::string& digits, int base) {
  if (digits.size() > 2 && digits[0] == '0') {
    const char mark = static_cast<char>(digits[1] | 0x20);
    const int named = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (named != 0 && (base == 0 || base == named)) {
      digits.erase(0, 2);
      if (digits[0] == '_') digits.erase(0, 1);
      return named;
    }
  }
  return base == 0 ? 10 : base;
}

}  // namespace

std::string IntRepr(Int value) {
  if (value == 0) return "0";
  const bool negative = value < 0;
  std::string digits;
  for (; value != 0; value /= 10) {
    const int digit = static_cast<int>(value % 10);
    digits += static_cast<char>('0' + (digit < 0 ? -digit : digit));
  }
  if (negative) digits += '-';
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string text(buffer, end.ptr);
  const size_t mark = text.find('e');
  const int exponent = std::stoi(text.substr(mark + 1));
  std::string digits = text.substr(0, mark);
  const std::string sign = digits[0] == '-' ? "-" : "";
  digits.erase(0, sign.size());
  if (exponent < -4 || exponent >= 16) {
    return fmt::format("{}{}e{}{:02}", sign, digits, exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  std::erase(digits, '.');
  if (exponent < 0) return fmt::format("{}0.{:0>{}}{}", sign, "", -exponent - 1, digits);
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return fmt::format("{}{:0<{}}.0", sign, digits, whole);
  return fmt::format("{}{}.{}", sign, digits.substr(0, whole), digits.substr(whole));
}

std::string StringRepr(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char32_t c : Decode(text)) {
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += {'\\', static_cast<char>(c)};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (IsPrintable(c)) {
      out += Encode({&c, 1});
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    } else if (c < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
    }
  }
  return out + quote;
}

std::string Repr(const Value& value) {
  if (value.is_none()) return "None";
  if (value.is_undefined()) return "Undefined";
  if (value.is_bool()) return Truthy(value) ? "True" : "False";
  if (value.is_float()) return FloatRepr(*value.number());
  if (const auto integer = value.integer()) return IntRepr(*integer);
  if (value.is_markup()) return fmt::format("Markup({})", StringRepr(*value.text()));
  if (const std::string* text = value.text()) return StringRepr(*text);
  if (const Sequence* sequence = value.sequence()) return SequenceRepr(*sequence);
  if (const Dict* dict = value.dict()) return DictRepr(*dict);
  return value.object()->Repr();
}

std::string Str(const Value& value) {
  if (const std::string* text = value.text()) return *text;
  return value.is_undefined() ? "" : Repr(value);
}

std::optional<Int> ParseInt(std::string_view text, int base) {
  std::string trimmed = Strip(text, std::nullopt, true, true);
  const bool negative = !trimmed.empty() && trimmed[0] == '-';
  if (!trimmed.empty() && (trimmed[0] == '-' || trimmed[0] == '+')) trimmed.erase(0, 1);
  const bool automatic = base == 0;
  const int actual = TakePrefix(trimmed, base);
  const auto digits = DropUnderscores(trimmed);
  if (!digits || digits->empty()) return std::nullopt;
  if (automatic && actual == 10 && (*digits)[0] == '0' &&
      digits->find_first_not_of('0') != std::string::npos) {
    return std::nullopt;
  }
  Int value = 0;
  for (const char c : *digits) {
    const int digit = DigitOf(c);
    if (digit >= actual) return std::nullopt;
    if (value > (Int{1} << 120)) Raise("expected an integer below 2^120, got '{}'", text);
    value = value * actual + digit;
  }
  return negative ? -value : value;
}

std::optional<double> ParseFloat(std::string_view text) {
  const auto digits = DropUnderscores(Strip(text, std::nullopt, true, true));
  if (!digits || digits->empty()) return std::nullopt;
  std::string_view rest = *digits;
  const bool negative = rest[0] == '-';
  if (negative || rest[0] == '+') rest.remove_prefix(1);
  if (rest.empty() || rest[0] == '-' || rest[0] == '+') return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (end != rest.data() + rest.size() || rest.find('(') != std::string_view::npos)
    return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    value = std::strtod(std::string(rest).c_str(), nullptr);
  } else if (error != std::errc()) {
    return std::nullopt;
  }
  return negative ? -value : value;
}

}  // namespace sophia::io::jinja
