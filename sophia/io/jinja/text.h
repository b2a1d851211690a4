#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sophia::io::jinja {

// Text as Python's str sees it: a sequence of code points. Bytes that are not UTF-8 become single
// code points 0xDC80 + byte and turn back into the same bytes.
std::u32string Decode(std::string_view utf8);
std::string Encode(std::u32string_view code_points);
size_t CodePointCount(std::string_view utf8);

// The methods of Python's str of the same names.
bool IsSpace(char32_t c);
bool IsPrintable(char32_t c);
bool IsAlpha(char32_t c);
bool IsDigit(char32_t c);
bool IsCased(char32_t c);
bool IsUpper(std::string_view text);
bool IsLower(std::string_view text);
std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string Title(std::string_view text);
std::string Capitalize(std::string_view text);
// Without `characters` white space is stripped.
std::string Strip(std::string_view text, std::optional<std::string_view> characters, bool left,
                  bool right);
std::vector<std::string> SplitLines(std::string_view text, bool keep_ends);
// At most `limit` cuts; all when negative. `from_right` counts the cuts from the end.
std::vector<std::string> SplitSpaces(std::string_view text, int64_t limit, bool from_right);
std::vector<std::string> SplitOn(std::string_view text, std::string_view separator, int64_t limit,
                                 bool from_right);
// At most `limit` replacements; all when negative. An empty `from` matches between code points.
std::string Replace(std::string_view text, std::string_view from, std::string_view to,
                    int64_t limit);

}  // namespace sophia::io::jinja
