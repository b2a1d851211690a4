#include "sophia/io/jinja/format_spec.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "sophia/io/jinja/print.h"
#include "sophia/io/jinja/text.h"

namespace sophia::io::jinja {
namespace {

constexpr int kMaxPrecision = 400;

bool IsAlign(char32_t c) { return c == '<' || c == '>' || c == '=' || c == '^'; }

class SpecReader {
 public:
  explicit SpecReader(std::string_view text) : text_(Decode(text)) {}

  Spec Read() {
    Spec spec;
    if (text_.size() > 1 && IsAlign(text_[1])) {
      spec.fill = text_[0];
      spec.align = static_cast<char>(text_[1]);
      at_ = 2;
    } else if (!text_.empty() && IsAlign(text_[0])) {
      spec.align = static_cast<char>(text_[at_++]);
    }
    if (Peek() == '+' || Peek() == '-' || Peek() == ' ')
      spec.sign = static_cast<char>(text_[at_++]);
    if (Skip('#')) spec.alternate = true;
    if (Skip('0') && spec.align == '\0') {
      spec.fill = U'0';
      spec.align = '=';
    }
    spec.width = Number(kMaxWidth).value_or(0);
    if (Peek() == ',' || Peek() == '_') spec.grouping = static_cast<char>(text_[at_++]);
    if (Skip('.')) {
      spec.precision = Number(kMaxWidth);
      if (!spec.precision) Raise("Format specifier missing precision");
    }
    if (at_ < text_.size() && text_[at_] < 0x80) spec.type = static_cast<char>(text_[at_++]);
    if (at_ < text_.size()) Raise("Invalid format specifier '{}'", Encode(text_));
    return spec;
  }

 private:
  char32_t Peek() const { return at_ < text_.size() ? text_[at_] : 0; }
  bool Skip(char32_t c) {
    if (Peek() != c) return false;
    ++at_;
    return true;
  }
  std::optional<int> Number(int limit) {
    std::optional<int> value;
    while (Peek() >= '0' && Peek() <= '9') {
      value = value.value_or(0) * 10 + static_cast<int>(text_[at_++] - '0');
      if (*value > limit) Raise("expected a width or precision of at most {}", limit);
    }
    return value;
  }

  std::u32string text_;
  size_t at_ = 0;
};

std::string Digits(Int value, unsigned base, bool upper) {
  std::string out;
  do {
    const auto digit = static_cast<unsigned>(value % base);
    out += static_cast<char>(digit < 10 ? '0' + digit : (upper ? 'A' : 'a') + digit - 10);
    value /= base;
  } while (value != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

std::string Group(const std::string& digits, char separator, size_t every) {
  const size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  std::string out;
  for (size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % every == 0) out += separator;
    out += digits[i];
  }
  return out + digits.substr(whole);
}

// The digits of a float without its sign.
std::string FloatDigits(double value, const Spec& spec) {
  const char type = spec.type;
  const bool percent = type == '%';
  if (std::isnan(value) || std::isinf(value)) {
    const std::string name = std::isnan(value) ? "nan" : "inf";
    return (type == 'F' || type == 'E' || type == 'G' ? Upper(name) : name) + (percent ? "%" : "");
  }
  if (type == '\0' && !spec.precision) return FloatRepr(value);
  const int precision = std::min(spec.precision.value_or(6), kMaxPrecision);
  const char conversion = percent ? 'f' : type == '\0' || type == 'n' ? 'g' : type;
  const std::string format = fmt::format("%{}.*{}", spec.alternate ? "#" : "", conversion);
  char buffer[1024];
  const int size = std::snprintf(buffer, sizeof buffer, format.c_str(), precision,
                                 percent ? value * 100 : value);
  std::string out(buffer, static_cast<size_t>(size));
  if (type == '\0' && out.find_first_of(".e") == std::string::npos) out += ".0";
  if (percent) out += '%';
  return out;
}

}  // namespace

std::string Pad(std::string body, std::string_view prefix, const Spec& spec, char default_align) {
  const char align = spec.align == '\0' ? default_align : spec.align;
  const size_t length = CodePointCount(body) + prefix.size();
  const auto width = static_cast<size_t>(spec.width);
  const size_t missing = width > length ? width - length : 0;
  const size_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  const std::string before = Encode(std::u32string(left, spec.fill));
  const std::string after = Encode(std::u32string(missing - left, spec.fill));
  if (align == '=') return std::string(prefix) + before + body;
  return before + std::string(prefix) + std::move(body) + after;
}

std::string SignOf(bool negative, const Spec& spec) {
  if (negative) return "-";
  return spec.sign == '-' ? "" : std::string(1, spec.sign);
}

std::string FormatInt(Int value, const Spec& spec) {
  if (spec.precision) Raise("Precision not allowed in integer format specifier");
  if (spec.type == 'c') {
    const auto code = static_cast<char32_t>(value);
    return Pad(Encode({&code, 1}), "", spec, '<');
  }
  const char lower = static_cast<char>(spec.type | 0x20);
  const unsigned base = lower == 'x' ? 16 : spec.type == 'o' ? 8 : spec.type == 'b' ? 2 : 10;
  std::string digits = Digits(value < 0 ? -value : value, base, spec.type == 'X');
  if (spec.grouping != '\0') digits = Group(digits, spec.grouping, base == 10 ? 3 : 4);
  std::string prefix = SignOf(value < 0, spec);
  if (spec.alternate && base != 10) prefix += {'0', spec.type};
  return Pad(std::move(digits), prefix, spec, '>');
}

std::string FormatFloat(double value, const Spec& spec) {
  std::string digits = FloatDigits(std::fabs(value), spec);
  if (spec.grouping != '\0') digits = Group(digits, spec.grouping, 3);
  return Pad(std::move(digits), SignOf(std::signbit(value), spec), spec, '>');
}

std::string FormatText(std::string_view text, const Spec& spec) {
  std::u32string code_points = Decode(text);
  if (spec.precision) code_points = code_points.substr(0, static_cast<size_t>(*spec.precision));
  return Pad(Encode(code_points), "", spec, '<');
}

// Python's format(value, spec).
std::string FormatValue(const Value& value, std::string_view text) {
  if (text.empty()) return Str(value);
  const Spec spec = SpecReader(text).Read();
  static constexpr std::string_view kFloatTypes = "eEfFgG%";
  static constexpr std::string_view kIntTypes = "bcdoxXn";
  const bool floating = kFloatTypes.find(spec.type) != std::string_view::npos;
  const bool integral = kIntTypes.find(spec.type) != std::string_view::npos;
  if (value.is_integral() && (integral || (spec.type == '\0' && !value.is_bool()))) {
    return FormatInt(*value.integer(), spec);
  }
  if (value.is_number() &&
      (floating || (value.is_float() && (spec.type == '\0' || spec.type == 'n')))) {
    return FormatFloat(*value.number(), spec);
  }
  if (value.is_string() && (spec.type == '\0' || spec.type == 's')) {
    return FormatText(*value.text(), spec);
  }
  Raise("Unknown format code '{}' for object of type '{}'", spec.type, TypeName(value));
}

}  // namespace sophia::io::jinja
