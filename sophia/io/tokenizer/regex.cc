#include "sophia/io/tokenizer/regex.h"

#include <oniguruma.h>

#include "sophia/base/error.h"
#include "sophia/io/tokenizer/utf8.h"

namespace sophia::io::tok {
namespace {

std::string Message(int code, OnigErrorInfo* info) {
  OnigUChar buffer[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int size = onig_error_code_to_str(buffer, code, info);
  return ReplaceInvalidUtf8(std::string_view(reinterpret_cast<const char*>(buffer), size));
}

const OnigUChar* Bytes(std::string_view text) {
  return reinterpret_cast<const OnigUChar*>(text.data());
}

void Initialize() {
  static const int kCode = [] {
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    return onig_initialize(encodings, 1);
  }();
  SOPHIA_CHECK(kCode == ONIG_NORMAL, "onig_initialize gave {}", kCode);
}

std::shared_ptr<re_pattern_buffer> Compile(const std::string& pattern, OnigSyntaxType* syntax,
                                           std::string_view where) {
  Initialize();
  if (!IsValidUtf8(pattern)) Fail(where, "expected a pattern in valid UTF-8, got other bytes");
  OnigRegex compiled = nullptr;
  OnigErrorInfo info;
  const OnigUChar* begin = Bytes(pattern);
  const int code = onig_new(&compiled, begin, begin + pattern.size(), ONIG_OPTION_NONE,
                            ONIG_ENCODING_UTF8, syntax, &info);
  if (code != ONIG_NORMAL) {
    Fail(where, "expected a regular expression, got '{}': {}", pattern, Message(code, &info));
  }
  return {compiled, onig_free};
}

}  // namespace

Regex::Regex(const std::string& pattern, std::string_view where)
    : pattern_(Compile(pattern, ONIG_SYNTAX_DEFAULT, where)) {}

std::vector<Span> Regex::FindAll(std::string_view text) const {
  std::vector<Span> matches;
  const std::unique_ptr<OnigRegion, void (*)(OnigRegion*)> region(
      onig_region_new(), [](OnigRegion* r) { onig_region_free(r, 1); });
  const OnigUChar* begin = Bytes(text);
  const OnigUChar* end = begin + text.size();
  for (size_t at = 0; at <= text.size();) {
    const int found =
        onig_search(pattern_.get(), begin, end, begin + at, end, region.get(), ONIG_OPTION_NONE);
    if (found == ONIG_MISMATCH) break;
    if (found < 0)
      Fail("regular expression", "expected to match a text, got: {}", Message(found, nullptr));
    const Span match = {static_cast<size_t>(region->beg[0]), static_cast<size_t>(region->end[0])};
    if (match.begin == match.end && !matches.empty() && matches.back().end == match.end) {
      at += at < text.size() ? CodePointAt(text, at).size : 1;
      continue;
    }
    at = match.end;
    matches.push_back(match);
  }
  return matches;
}

PythonRegex::PythonRegex(const std::string& pattern, std::string_view where) {
  Compile(pattern, ONIG_SYNTAX_PYTHON, where);  // the group below could balance a ')'
  pattern_ = Compile(fmt::format("(?:{})\\Z", pattern), ONIG_SYNTAX_PYTHON, where);
}

bool PythonRegex::FullMatch(std::string_view text) const {
  const OnigUChar* begin = Bytes(text);
  const int length =
      onig_match(pattern_.get(), begin, begin + text.size(), begin, nullptr, ONIG_OPTION_NONE);
  if (length < 0 && length != ONIG_MISMATCH) {
    Fail("regular expression", "expected to match '{}', got: {}", text, Message(length, nullptr));
  }
  return length != ONIG_MISMATCH;
}

Matcher RegexMatcher(const std::string& pattern, std::string_view where) {
  return [regex = Regex(pattern, where)](std::string_view text) { return regex.FindAll(text); };
}

Matcher LiteralMatcher(const std::string& literal, std::string_view where) {
  if (literal.empty()) return RegexMatcher("", where);
  return [literal](std::string_view text) {
    std::vector<Span> matches;
    for (size_t at = text.find(literal); at != std::string_view::npos;
         at = text.find(literal, at + literal.size())) {
      matches.push_back({at, at + literal.size()});
    }
    return matches;
  };
}

Matcher CharMatcher(bool (*predicate)(char32_t)) {
  return [predicate](std::string_view text) {
    std::vector<Span> matches;
    for (size_t at = 0; at < text.size();) {
      const CodePoint point = CodePointAt(text, at);
      if (predicate(point.value)) matches.push_back({at, at + point.size});
      at += point.size;
    }
    return matches;
  };
}

std::string ReplaceMatches(std::string_view text, const std::vector<Span>& matches,
                           std::string_view content) {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  for (const Span& match : matches) {
    out.append(text.substr(done, match.begin - done)).append(content);
    done = match.end;
  }
  return out.append(text.substr(done));
}

}  // namespace sophia::io::tok
