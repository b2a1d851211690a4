#include <algorithm>
#include <string>
#include <vector>

#include "sophia/io/jinja/builtins.h"
#include "sophia/io/jinja/format.h"
#include "sophia/io/jinja/ops.h"
#include "sophia/io/jinja/print.h"
#include "sophia/io/jinja/text.h"

namespace sophia::io::jinja {
namespace {

Value EscapeFilter(Runtime&, const Value& self, const Bound&) {
  return self.is_markup() ? self : Value::Markup(EscapeHtml(Str(self)));
}

// Each word's first letter in upper case, words being cut at white space and opening brackets.
Value TitleFilter(Runtime&, const Value& self, const Bound&) {
  static constexpr std::u32string_view kCuts = U"-({[<";
  const std::u32string text = Decode(Str(self));
  std::string out;
  size_t begin = 0;
  const auto is_cut = [&](char32_t c) {
    return IsSpace(c) || kCuts.find(c) != std::u32string_view::npos;
  };
  while (begin < text.size()) {
    size_t end = begin;
    while (end < text.size() && is_cut(text[end]) == is_cut(text[begin])) ++end;
    const std::u32string_view piece = std::u32string_view(text).substr(begin, end - begin);
    out += Upper(Encode(piece.substr(0, 1))) + Lower(Encode(piece.substr(1)));
    begin = end;
  }
  return out;
}

Value ReplaceFilter(Runtime& runtime, const Value& self, const Bound& bound) {
  const std::string text = Str(self);
  const std::string to = Str(bound[1]);
  const std::string from = Str(bound[0]);
  const Int count = bound.Integer(2, -1);
  const size_t matches = from.empty() ? text.size() + 1 : text.size() / from.size();
  if (matches * to.size() > kMaxText) {
    size_t found = 0;
    for (size_t at = text.find(from); at != std::string::npos && at < text.size() && !from.empty();
         at = text.find(from, at + from.size())) {
      ++found;
    }
    if (from.empty() || found * to.size() > kMaxText) {
      Raise("expected a text of at most {} bytes", kMaxText);
    }
  }
  runtime.Charge(text.size() / 16);
  return Replace(text, from, to, count < 0 ? -1 : static_cast<int64_t>(count));
}

Value TrimFilter(Runtime&, const Value& self, const Bound& bound) {
  const std::string text = Str(self);
  if (bound[0].is_none()) return Strip(text, std::nullopt, true, true);
  const std::string characters = bound.Text(0, "");
  return Strip(text, characters, true, true);
}

Value IndentFilter(Runtime& runtime, const Value& self, const Bound& bound) {
  RequireDefined(self);
  if (!self.is_string()) Raise("expected a string to indent, got '{}'", TypeName(self));
  std::string indent;
  if (bound[0].is_string()) {
    indent = *bound[0].text();
  } else {
    const Int width = bound.Integer(0, 4);
    if (width > Int{kMaxText}) Raise("expected a width of at most {}", kMaxText);
    indent.assign(width > 0 ? static_cast<size_t>(width) : 0, ' ');
  }
  const bool blank = bound.Flag(2, false);
  const std::vector<std::string> lines = SplitLines(*self.text() + '\n', false);
  runtime.Charge(lines.size() * (1 + indent.size() / 16));
  std::string out = bound.Flag(1, false) ? indent : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += indent;
    out += lines[i];
  }
  if (blank && self.text()->empty()) return bound.Flag(1, false) ? indent : "";
  return out;
}

Value CenterFilter(Runtime& runtime, const Value& self, const Bound& bound) {
  const std::string text = Str(self);
  const Int width = bound.Integer(0, 80);
  const Int missing = width - static_cast<Int>(CodePointCount(text));
  if (missing <= 0) return text;
  if (missing > Int{kMaxText}) Raise("expected a width of at most {}", kMaxText);
  runtime.Charge(static_cast<size_t>(missing) / 16);
  const Int left = missing / 2 + (missing & width & 1);
  return std::string(static_cast<size_t>(left), ' ') + text +
         std::string(static_cast<size_t>(missing - left), ' ');
}

Value TruncateFilter(Runtime&, const Value& self, const Bound& bound) {
  const auto size = Length(self);
  if (!size) Raise("object of type '{}' has no len()", TypeName(self));
  const Int length = bound.Integer(0, 255);
  const std::u32string end = Decode(bound.Text(2, "..."));
  const Int leeway = bound.Integer(3, 5);
  if (length < static_cast<Int>(end.size())) {
    Raise("expected length >= {}, got {}", end.size(), IntRepr(length));
  }
  if (leeway < 0) Raise("expected leeway >= 0, got {}", IntRepr(leeway));
  if (static_cast<Int>(*size) <= length + leeway) return self;
  if (!self.is_string()) Raise("expected a string to truncate, got '{}'", TypeName(self));
  const std::u32string text = Decode(*self.text());
  std::u32string kept = text.substr(0, static_cast<size_t>(length) - end.size());
  const size_t space = kept.rfind(U' ');
  if (!bound.Flag(1, false) && space != std::u32string::npos) kept.resize(space);
  return Encode(kept + end);
}

Value WordCountFilter(Runtime&, const Value& self, const Bound&) {
  size_t words = 0;
  bool inside = false;
  for (const char32_t c : Decode(Str(self))) {
    const bool word = IsAlpha(c) || IsDigit(c) || c == '_';
    if (word && !inside) ++words;
    inside = word;
  }
  return words;
}

Value FormatFilter(Runtime& runtime, const Value& self, const Bound& bound) {
  const Arguments& arguments = bound.arguments();
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    Raise("expected positional or keyword arguments to format, got both");
  }
  const Value format = self.is_string() ? self : Value(Str(self));
  if (arguments.named.empty())
    return PercentFormat(runtime, format, MakeTuple(arguments.positional));
  Dict named;
  for (const auto& [name, value] : arguments.named) named.Set(name, value);
  return PercentFormat(runtime, format, MakeDict(std::move(named)));
}

// Removes comments and tags and joins runs of white space, as markupsafe does.
Value StripTagsFilter(Runtime&, const Value& self, const Bound&) {
  std::string text = Str(self);
  for (const auto& [open, close] : {std::pair{"<!--", "-->"}, std::pair{"<", ">"}}) {
    std::string kept;
    size_t at = 0;
    for (size_t begin = text.find(open); begin != std::string::npos; begin = text.find(open, at)) {
      const size_t end = text.find(close, begin + std::string_view(open).size());
      if (end == std::string::npos) break;
      kept += text.substr(at, begin - at);
      at = end + std::string_view(close).size();
    }
    kept += text.substr(at);
    text = std::move(kept);
  }
  std::string out;
  for (const std::string& word : SplitSpaces(text, -1, false))
    out += (out.empty() ? "" : " ") + word;
  return out;
}

Value ToJsonFilter(Runtime&, const Value& self, const Bound& bound) {
  JsonStyle style{.ensure_ascii = bound.Flag(0, false), .sort_keys = bound.Flag(3, false)};
  if (bound[1].is_string()) {
    style.indent = *bound[1].text();
  } else if (!bound[1].is_none()) {
    const Int width = bound.Integer(1, 0);
    if (width > Int{kMaxText}) Raise("expected an indent of at most {}", kMaxText);
    style.indent = std::string(width > 0 ? static_cast<size_t>(width) : 0, ' ');
  }
  if (style.indent) style.item_separator = ",";
  if (!bound[2].is_none()) {
    const std::vector<Value> separators = Items(bound[2]);
    if (separators.size() != 2 || !separators[0].is_string() || !separators[1].is_string()) {
      Raise("expected separators to be two strings, got {}", Repr(bound[2]));
    }
    style.item_separator = *separators[0].text();
    style.key_separator = *separators[1].text();
  }
  return ToJson(self, style);
}

}  // namespace

std::vector<Builtin> TextFilters() {
  return {
      {"capitalize",
       {},
       0,
       [](Runtime&, const Value& self, const Bound&) -> Value { return Capitalize(Str(self)); }},
      {"center", {"width"}, 0, CenterFilter},
      {"e", {}, 0, EscapeFilter},
      {"escape", {}, 0, EscapeFilter},
      {"format", {"*"}, 0, FormatFilter},
      {"indent", {"width", "first", "blank"}, 0, IndentFilter},
      {"lower",
       {},
       0,
       [](Runtime&, const Value& self, const Bound&) -> Value { return Lower(Str(self)); }},
      {"replace", {"old", "new", "count"}, 2, ReplaceFilter},
      {"safe",
       {},
       0,
       [](Runtime&, const Value& self, const Bound&) { return Value::Markup(Str(self)); }},
      {"string",
       {},
       0,
       [](Runtime&, const Value& self, const Bound&) {
         return self.is_string() ? self : Value(Str(self));
       }},
      {"striptags", {}, 0, StripTagsFilter},
      {"title", {}, 0, TitleFilter},
      {"tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, ToJsonFilter},
      {"trim", {"chars"}, 0, TrimFilter},
      {"truncate", {"length", "killwords", "end", "leeway"}, 0, TruncateFilter},
      {"upper",
       {},
       0,
       [](Runtime&, const Value& self, const Bound&) -> Value { return Upper(Str(self)); }},
      {"wordcount", {}, 0, WordCountFilter},
  };
}

}  // namespace sophia::io::jinja
