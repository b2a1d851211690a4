#include "sophia/io/jinja/format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <vector>

#include "sophia/base/strings.h"
#include "sophia/io/jinja/format_spec.h"
#include "sophia/io/jinja/ops.h"
#include "sophia/io/jinja/print.h"
#include "sophia/io/jinja/text.h"

namespace sophia::io::jinja {
namespace {

// Reads one "%..." conversion after another.
class PercentFormatter {
 public:
  PercentFormatter(Runtime& runtime, const Value& format, const Value& operand)
      : runtime_(runtime), text_(*format.text()), markup_(format.is_markup()), operand_(operand) {
    const Sequence* sequence = operand.sequence();
    if (sequence != nullptr && sequence->kind == SequenceKind::kTuple) {
      values_ = sequence->items;
    } else {
      values_ = {operand};
    }
  }

  std::string Run() {
    while (at_ < text_.size()) {
      const size_t mark = std::min(text_.find('%', at_), text_.size());
      out_ += text_.substr(at_, mark - at_);
      at_ = mark + 1;
      if (mark < text_.size()) Convert();
    }
    if (used_ < values_.size() && !HasSubscripts()) {
      Raise("not all arguments converted during string formatting");
    }
    return std::move(out_);
  }

 private:
  // Python lets such operands stay unused, as a mapping's entries may.
  bool HasSubscripts() const {
    const Sequence* sequence = operand_.sequence();
    return operand_.is_undefined() || operand_.dict() != nullptr ||
           (sequence != nullptr && sequence->kind != SequenceKind::kTuple && sequence->indexable());
  }

  char Take() {
    if (at_ >= text_.size()) Raise("incomplete format");
    return text_[at_++];
  }

  const Value& NextValue() {
    if (used_ >= values_.size()) Raise("not enough arguments for format string");
    return values_[used_++];
  }

  std::optional<int> Number(char& c) {
    if (c == '*') {
      const auto value = NextValue().integer();
      if (!value || *value < 0 || *value > kMaxWidth) Raise("expected a width for '*'");
      c = Take();
      return static_cast<int>(*value);
    }
    std::optional<int> value;
    for (; c >= '0' && c <= '9'; c = Take()) {
      value = value.value_or(0) * 10 + (c - '0');
      if (*value > kMaxWidth) Raise("expected a width or precision of at most {}", kMaxWidth);
    }
    return value;
  }

  void Convert() {
    std::optional<Value> named;
    char c = Take();
    if (c == '(') {
      const size_t end = text_.find(')', at_);
      if (end == std::string::npos) Raise("incomplete format key");
      if (operand_.dict() == nullptr) Raise("format requires a mapping");
      const std::string key = text_.substr(at_, end - at_);
      const Value* found = operand_.dict()->Find(std::string_view(key));
      if (found == nullptr) Raise("expected the key '{}' in the format's mapping", key);
      named = *found;
      at_ = end + 1;
      c = Take();
    }
    Spec spec;
    bool zero = false;
    for (; std::string_view("#0- +").find(c) != std::string_view::npos; c = Take()) {
      if (c == '#') spec.alternate = true;
      if (c == '0') zero = true;
      if (c == '-') spec.align = '<';
      if (c == '+' || (c == ' ' && spec.sign != '+')) spec.sign = c;
    }
    spec.width = Number(c).value_or(0);
    if (c == '.') {
      c = Take();
      spec.precision = Number(c).value_or(0);
    }
    while (c == 'h' || c == 'l' || c == 'L') c = Take();
    if (c == '%') {
      out_ += '%';
      return;
    }
    if (zero && spec.align == '\0' && c != 's' && c != 'r' && c != 'c') {
      spec.align = '=';
      spec.fill = U'0';
    }
    if (spec.align == '\0') spec.align = '>';
    runtime_.Charge(static_cast<size_t>(spec.width));
    out_ += Converted(named ? *named : NextValue(), c, spec);
    if (out_.size() > kMaxText) Raise("expected a text of at most {} bytes", kMaxText);
  }

  std::string Converted(const Value& value, char c, Spec spec) const {
    switch (c) {
      case 's':
      case 'r':
      case 'a': {
        const std::string text = c == 's' ? Str(value) : Repr(value);
        return FormatText(markup_ && !value.is_markup() ? EscapeHtml(text) : text, spec);
      }
      case 'c':
        if (value.is_string()) return FormatText(*value.text(), spec);
        [[fallthrough]];
      case 'd':
      case 'i':
      case 'u':
      case 'o':
      case 'x':
      case 'X':
        return Whole(value, c, spec);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        RequireDefined(value);
        if (!value.is_number()) Raise("must be real number, not {}", TypeName(value));
        spec.type = c;
        return FormatFloat(*value.number(), spec);
      default:
        Raise("unsupported format character '{}'", c);
    }
  }

  static std::string Whole(const Value& value, char c, Spec spec) {
    RequireDefined(value);
    const bool truncates = c == 'd' || c == 'i' || c == 'u';
    if (!value.is_integral() && !(truncates && value.is_float())) {
      Raise("%{} format: an integer is required, not {}", c, TypeName(value));
    }
    const double number = *value.number();
    if (!std::isfinite(number) || std::fabs(number) > 0x1p120) {
      Raise("cannot convert {} to an integer", Repr(value));
    }
    spec.type = truncates ? 'd' : c;
    const auto digits = spec.precision;
    spec.precision.reset();
    const Int whole = value.is_float() ? static_cast<Int>(number) : *value.integer();
    if (!digits) return FormatInt(whole, spec);
    Spec inner{.type = spec.type};
    std::string text = FormatInt(whole < 0 ? -whole : whole, inner);
    if (static_cast<size_t>(*digits) > text.size()) {
      text.insert(0, static_cast<size_t>(*digits) - text.size(), '0');
    }
    return Pad(std::move(text), SignOf(whole < 0, spec), spec, '>');
  }

  Runtime& runtime_;
  std::string text_;
  bool markup_;
  const Value& operand_;
  std::vector<Value> values_;
  size_t used_ = 0;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

Value PercentFormat(Runtime& runtime, const Value& format, const Value& operand) {
  runtime.Charge(operand);
  std::string text = PercentFormatter(runtime, format, operand).Run();
  return format.is_markup() ? Value::Markup(std::move(text)) : Value(std::move(text));
}

std::string EscapeHtml(std::string_view text) {
  std::string out = ReplaceAll(std::string(text), "&", "&amp;");
  out = ReplaceAll(std::move(out), ">", "&gt;");
  out = ReplaceAll(std::move(out), "<", "&lt;");
  out = ReplaceAll(std::move(out), "'", "&#39;");
  return ReplaceAll(std::move(out), "\"", "&#34;");
}

namespace {

class BraceFormatter {
 public:
  BraceFormatter(Runtime& runtime, const Arguments& arguments)
      : runtime_(runtime), arguments_(arguments) {}

  std::string Run(std::string_view text, int depth) {
    if (depth > 2) Raise("Max string recursion exceeded");
    std::string out;
    for (size_t at = 0; at < text.size(); ++at) {
      const char c = text[at];
      if ((c == '{' || c == '}') && at + 1 < text.size() && text[at + 1] == c) {
        out += c;
        ++at;
      } else if (c == '}') {
        Raise("Single '}}' encountered in format string");
      } else if (c != '{') {
        out += c;
      } else {
        const size_t end = FieldEnd(text, at);
        out += Field(text.substr(at + 1, end - at - 1), depth);
        at = end;
      }
      if (out.size() > kMaxText) Raise("expected a text of at most {} bytes", kMaxText);
    }
    return out;
  }

 private:
  static size_t FieldEnd(std::string_view text, size_t begin) {
    int open = 0;
    for (size_t at = begin; at < text.size(); ++at) {
      if (text[at] == '{') ++open;
      if (text[at] == '}' && --open == 0) return at;
    }
    Raise("expected '}}' before end of string");
  }

  std::string Field(std::string_view field, int depth) {
    const size_t colon = std::min(field.find(':'), field.size());
    std::string_view name = field.substr(0, colon);
    char conversion = '\0';
    if (const size_t mark = name.find('!'); mark != std::string_view::npos) {
      if (mark + 2 != name.size()) Raise("expected one character after '!' in a format string");
      conversion = name[mark + 1];
      name = name.substr(0, mark);
    }
    Value value = Lookup(name);
    if (conversion == 'r' || conversion == 'a') value = Repr(value);
    if (conversion == 's') value = Str(value);
    const std::string spec =
        colon < field.size() ? Run(field.substr(colon + 1), depth + 1) : std::string();
    runtime_.Charge(1 + spec.size());
    std::string text = FormatValue(value, spec);
    runtime_.Charge(text.size() / 16);
    return text;
  }

  // first(.attribute | [item])*
  Value Lookup(std::string_view name) {
    size_t at = std::min(name.find_first_of(".["), name.size());
    Value value = First(name.substr(0, at));
    while (at < name.size()) {
      const bool attribute = name[at] == '.';
      const size_t end =
          attribute ? std::min(name.find_first_of(".[", at + 1), name.size()) : name.find(']', at);
      if (end == std::string_view::npos) Raise("Missing ']' in format string");
      const std::string_view key = name.substr(at + 1, end - at - 1);
      if (key.empty()) Raise("Empty attribute in format string");
      const bool number = key.find_first_not_of("0123456789") == std::string_view::npos;
      if (attribute) {
        value = Attribute(runtime_, value, key);
      } else {
        value = Item(runtime_, value, number ? Value(*ParseInt(key, 10)) : Value(key));
      }
      at = attribute ? end : end + 1;
    }
    return value;
  }

  Value First(std::string_view name) {
    const auto& positional = arguments_.positional;
    if (name.find_first_not_of("0123456789") == std::string_view::npos) {
      const Int index = name.empty() ? static_cast<Int>(automatic_++) : *ParseInt(name, 10);
      if (index >= static_cast<Int>(positional.size())) {
        Raise("Replacement index {} out of range for positional args tuple", IntRepr(index));
      }
      return positional[static_cast<size_t>(index)];
    }
    for (const auto& [key, value] : arguments_.named) {
      if (key == name) return value;
    }
    Raise("expected the argument '{}' of the format string", name);
  }

  Runtime& runtime_;
  const Arguments& arguments_;
  size_t automatic_ = 0;
};

}  // namespace

std::string BraceFormat(Runtime& runtime, std::string_view format, const Arguments& arguments) {
  return BraceFormatter(runtime, arguments).Run(format, 0);
}

}  // namespace sophia::io::jinja
