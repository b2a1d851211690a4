#include "sophia/io/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/io/jinja/literals.h"
#include "sophia/io/jinja/print.h"
#include "sophia/io/jinja/text.h"

namespace sophia::io::jinja {
namespace {

std::string NormalizeNewlines(std::string_view source) {
  std::string text = ReplaceAll(std::string(source), "\r\n", "\n");
  std::replace(text.begin(), text.end(), '\r', '\n');
  return text;
}

bool IsWordByte(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || (c & 0x80) != 0;
}

class Lexer {
 public:
  Lexer(std::string_view source, std::string_view name)
      : source_(NormalizeNewlines(source)), name_(name) {
    if (source_.ends_with('\n')) source_.pop_back();
  }

  std::vector<Token> Run() {
    while (at_ < source_.size()) LexData();
    Emit(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  template <typename... Args>
  [[noreturn]] void Throw(fmt::format_string<Args...> format, Args&&... args) const {
    throw Error(fmt::format("{}:{}", name_, line_),
                fmt::format(format, std::forward<Args>(args)...));
  }

  // What `function` returns; its Fault becomes an Error of this line.
  template <typename Function>
  auto Placed(const Function& function) const {
    try {
      return function();
    } catch (const Fault& fault) {
      Throw("{}", fault.what());
    }
  }

  std::string_view Rest() const { return std::string_view(source_).substr(at_); }
  bool Sees(std::string_view text) const { return Rest().starts_with(text); }
  char Peek(size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }

  // The white-space control at `at`: '-', '+' or 0 for none.
  char SignAt(size_t at) const {
    const char sign = at < source_.size() ? source_[at] : '\0';
    return sign == '-' || sign == '+' ? sign : '\0';
  }

  void Emit(TokenKind kind, std::string text, Value number = {}) {
    tokens_.push_back({kind, std::move(text), line_, std::move(number)});
  }

  void Advance(size_t bytes) {
    const auto begin = source_.begin() + static_cast<ptrdiff_t>(at_);
    line_ += static_cast<int>(std::count(begin, begin + static_cast<ptrdiff_t>(bytes), '\n'));
    at_ += bytes;
    line_starting_ = bytes > 0 && source_[at_ - 1] == '\n';
  }

  size_t SpacesAt(size_t at) const {
    size_t end = at;
    while (end < source_.size()) {
      const size_t width = SpaceWidth(end);
      if (width == 0) break;
      end += width;
    }
    return end - at;
  }

  // Bytes of the white-space code point at `at`, or 0.
  size_t SpaceWidth(size_t at) const {
    const auto byte = static_cast<unsigned char>(source_[at]);
    if (byte < 0x80) return IsSpace(byte) ? 1 : 0;
    const size_t width = byte >= 0xE0 ? 3 : 2;
    const std::u32string code_points = Decode(std::string_view(source_).substr(at, width));
    return code_points.size() == 1 && IsSpace(code_points[0]) ? width : 0;
  }

  // Position of the next "{{", "{%" or "{#", or npos.
  size_t NextTag() const {
    for (size_t at = source_.find('{', at_); at < source_.size(); at = source_.find('{', at + 1)) {
      const char mark = at + 1 < source_.size() ? source_[at + 1] : '\0';
      if (mark == '{' || mark == '%' || mark == '#') return at;
    }
    return std::string::npos;
  }

  // `data` before a tag that begins with the white-space control `sign`.
  std::string TrimBefore(std::string_view data, char sign, bool variable) const {
    if (sign == '-') return Strip(data, std::nullopt, false, true);
    if (sign == '+' || variable) return std::string(data);
    const size_t newline = data.rfind('\n');
    const size_t line_begin = newline == std::string_view::npos ? 0 : newline + 1;
    const bool at_line_begin = line_begin > 0 || line_starting_;
    const std::string_view indent = data.substr(line_begin);
    if (at_line_begin && Strip(indent, std::nullopt, true, false).empty()) {
      return std::string(data.substr(0, line_begin));
    }
    return std::string(data);
  }

  void EmitData(std::string_view raw, char sign, bool variable) {
    std::string data = TrimBefore(raw, sign, variable);
    if (!data.empty()) Emit(TokenKind::kData, std::move(data));
    Advance(raw.size());
  }

  void LexData() {
    const size_t tag = NextTag();
    if (tag == std::string::npos) {
      Emit(TokenKind::kData, std::string(Rest()));
      Advance(Rest().size());
      return;
    }
    const char mark = source_[tag + 1];
    const char sign = SignAt(tag + 2);
    EmitData(std::string_view(source_).substr(at_, tag - at_), sign, mark == '{');
    const size_t opening = sign == '\0' ? 2 : 3;
    if (mark == '#') {
      Advance(opening);
      LexComment();
    } else if (const auto raw = WordTagEnd(tag, "raw", false); mark == '%' && raw) {
      Advance(*raw - at_);
      LexRaw();
    } else {
      Emit(mark == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
      Advance(opening);
      LexTag(mark == '%');
    }
  }

  // Skips the end of a block or comment tag with what its white-space control removes.
  bool SkipBlockEnd(std::string_view end) {
    const bool minus = Peek() == '-';
    const size_t sign = minus || Peek() == '+' ? 1 : 0;
    if (!Rest().substr(sign).starts_with(end)) return false;
    size_t bytes = sign + end.size();
    if (minus) {
      bytes += SpacesAt(at_ + bytes);
    } else if (sign == 0 && Peek(bytes) == '\n') {
      ++bytes;
    }
    Advance(bytes);
    return true;
  }

  void LexComment() {
    for (size_t at = source_.find("#}", at_); at != std::string::npos;
         at = source_.find("#}", at + 1)) {
      size_t end = at;
      if (end > at_ && (source_[end - 1] == '-' || source_[end - 1] == '+')) --end;
      Advance(end - at_);
      SkipBlockEnd("#}");
      return;
    }
    Throw("expected the end of the comment, '#}}', got the end of the template");
  }

  // The end of "{% word %}" with the white space its control removes, if that stands at `at`.
  std::optional<size_t> WordTagEnd(size_t at, std::string_view word, bool trims_newline) const {
    at += SignAt(at + 2) == '\0' ? 2 : 3;
    at += SpacesAt(at);
    if (!std::string_view(source_).substr(at).starts_with(word)) return std::nullopt;
    at += word.size();
    at += SpacesAt(at);
    const char sign = at < source_.size() ? source_[at] : '\0';
    const bool control = sign == '-' || (trims_newline && sign == '+');
    if (!std::string_view(source_).substr(at + (control ? 1 : 0)).starts_with("%}")) {
      return std::nullopt;
    }
    at += control ? 3 : 2;
    if (sign == '-') {
      at += SpacesAt(at);
    } else if (trims_newline && !control && at < source_.size() && source_[at] == '\n') {
      ++at;
    }
    return at;
  }

  void LexRaw() {
    const size_t begin = at_;
    for (size_t tag = source_.find("{%", begin); tag != std::string::npos;
         tag = source_.find("{%", tag + 1)) {
      const auto end = WordTagEnd(tag, "endraw", true);
      if (!end) continue;
      EmitData(std::string_view(source_).substr(begin, tag - begin), SignAt(tag + 2), false);
      Advance(*end - at_);
      return;
    }
    Throw("expected '{{% endraw %}}', got the end of the template");
  }

  void LexTag(bool block) {
    while (true) {
      Advance(SpacesAt(at_));
      if (at_ >= source_.size()) {
        Throw("expected the end of the tag, '{}', got the end of the template",
              block ? "%}" : "}}");
      }
      if (open_.empty() && EndTag(block)) return;
      LexToken();
    }
  }

  bool EndTag(bool block) {
    if (block) {
      if (!SkipBlockEnd("%}")) return false;
      Emit(TokenKind::kBlockEnd, "");
      return true;
    }
    const size_t sign = Peek() == '-' ? 1 : 0;
    if (!Rest().substr(sign).starts_with("}}")) return false;
    Advance(sign + 2);
    if (sign == 1) Advance(SpacesAt(at_));
    Emit(TokenKind::kVariableEnd, "");
    return true;
  }

  void LexToken() {
    const char c = Peek();
    if (IsDigitByte(c)) {
      LexNumber();
    } else if (IsWordByte(c)) {
      size_t end = 0;
      while (IsWordByte(Peek(end))) ++end;
      Emit(TokenKind::kName, std::string(Rest().substr(0, end)));
      Advance(end);
    } else if (c == '\'' || c == '"') {
      LexString(c);
    } else {
      LexOperator();
    }
  }

  void LexNumber() {
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    const NumberLiteral number = ScanNumber(Rest(), after_dot);
    const std::string text(Rest().substr(0, number.bytes));
    if (number.is_float) {
      Emit(TokenKind::kFloat, text, *ParseFloat(text));
    } else {
      Emit(TokenKind::kInteger, text, Placed([&] { return ParseInt(text, 0).value_or(0); }));
    }
    Advance(number.bytes);
  }

  void LexString(char quote) {
    size_t end = 1;
    while (Peek(end) != quote || at_ + end >= source_.size()) {
      if (at_ + end >= source_.size())
        Throw("expected the end of the string, {}, got the end of the template", quote);
      end += Peek(end) == '\\' ? 2 : 1;
    }
    Emit(TokenKind::kString, Placed([&] { return Unescape(Rest().substr(1, end - 1)); }));
    Advance(end + 1);
  }

  void LexOperator() {
    static constexpr std::array<std::string_view, 27> kOperators = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]",
        "(",  ")",  "{",  "}",  ">",  "<",  "=", ".", ":", "|", ",", ";", "!"};
    for (const std::string_view text : kOperators) {
      if (!Sees(text)) continue;
      if (text == "!") break;
      Balance(text);
      Emit(TokenKind::kOperator, std::string(text));
      Advance(text.size());
      return;
    }
    Throw("unexpected character '{}'", Encode(Decode(Rest().substr(0, 4)).substr(0, 1)));
  }

  void Balance(std::string_view text) {
    if (text == "(" || text == "[" || text == "{") {
      open_ += text == "(" ? ')' : text == "[" ? ']' : '}';
    } else if (text == ")" || text == "]" || text == "}") {
      if (open_.empty()) Throw("unexpected '{}'", text);
      if (open_.back() != text[0]) Throw("unexpected '{}', expected '{}'", text, open_.back());
      open_.pop_back();
    }
  }

  std::string source_;
  std::string name_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::string open_;  // closing brackets that are due
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(std::string_view source, std::string_view name) {
  return Lexer(source, name).Run();
}

}  // namespace sophia::io::jinja
