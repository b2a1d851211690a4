#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct re_pattern_buffer;  // Oniguruma's compiled pattern

namespace sophia::io::tok {

// Half-open range of bytes.
struct Span {
  size_t begin;
  size_t end;
};

// A compiled Oniguruma pattern over UTF-8. Cheap to copy; safe to use from several threads. Classes
// such as \p{L} follow the Unicode version of the installed Oniguruma.
class Regex {
 public:
  // Throws Error naming `where` when the pattern does not compile.
  Regex(const std::string& pattern, std::string_view where);

  // All matches from left to right, not overlapping; an empty match right after a match is skipped.
  // `text` must be valid UTF-8. Throws Error when the engine gives up on the text.
  std::vector<Span> FindAll(std::string_view text) const;

 private:
  std::shared_ptr<re_pattern_buffer> pattern_;
};

// A pattern in the syntax of Python's `re`. Errors, copies and threads as above.
class PythonRegex {
 public:
  PythonRegex(const std::string& pattern, std::string_view where);

  // re.fullmatch: whether the pattern matches the whole text, which must be valid UTF-8.
  bool FullMatch(std::string_view text) const;

 private:
  std::shared_ptr<re_pattern_buffer> pattern_;
};

// Finds the parts of a text that a splitter or a replacement works on.
using Matcher = std::function<std::vector<Span>(std::string_view)>;

// Matches the literal text from left to right; an empty literal matches around every character.
Matcher LiteralMatcher(const std::string& literal, std::string_view where);
Matcher RegexMatcher(const std::string& pattern, std::string_view where);

// Matches every single code point for which the predicate holds.
Matcher CharMatcher(bool (*predicate)(char32_t));

// The text with all matches replaced by `content`.
std::string ReplaceMatches(std::string_view text, const std::vector<Span>& matches,
                           std::string_view content);

}  // namespace sophia::io::tok
