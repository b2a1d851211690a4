#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sophia::io::tok {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// One code point of a text. A malformed sequence reads as U+FFFD over its maximal subpart
// (Unicode 15, section 3.9, table 3-7), as in Python's errors='replace'.
struct CodePoint {
  char32_t value;
  size_t size;  // bytes, at least 1
  bool valid;
};

// The code point at byte `at`, which must be inside the text.
CodePoint CodePointAt(std::string_view text, size_t at);

// Bytes of the code point that ends the text, which must be valid UTF-8 and not empty.
size_t LastCodePointSize(std::string_view text);

void AppendUtf8(std::string& out, char32_t value);

bool IsAscii(std::string_view text);
bool IsValidUtf8(std::string_view text);

// The text with every malformed sequence replaced by U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view text);

// Unicode property White_Space.
bool IsWhiteSpace(char32_t value);

// Unicode general category N (numbers) and category P or an ASCII punctuation mark.
bool IsNumeric(char32_t value);
bool IsPunctuation(char32_t value);

}  // namespace sophia::io::tok
