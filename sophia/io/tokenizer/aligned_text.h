#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/io/tokenizer/regex.h"

namespace sophia::io::tok {

// Bytes of the input that a byte of a rewritten text comes from: those of a whole character.
struct Origin {
  uint32_t begin = 0;
  uint32_t end = 0;
};

// A part of an AlignedText: valid UTF-8 and the origin of each byte.
struct AlignedView {
  std::string_view text;
  std::span<const Origin> origins;

  AlignedView Part(size_t begin, size_t end) const {
    return {text.substr(begin, end - begin), origins.subspan(begin, end - begin)};
  }
};

// A text that remembers, through every rewriting, where its bytes come from. Where characters are
// replaced, added or merged, origins are those that the `tokenizers` library gives.
class AlignedText {
 public:
  AlignedText() = default;
  // Valid UTF-8 of less than 4 GiB, which comes from itself.
  explicit AlignedText(std::string text);

  AlignedView view() const { return {text_, origins_}; }
  const std::string& text() const { return text_; }

  void Append(const AlignedView& view);
  // Appends a text all of whose bytes come from `origin`.
  void Append(std::string_view text, Origin origin);
  // Puts a prefix before a text that is not empty; it comes from the first character.
  void Prepend(std::string_view prefix);
  // Keeps the bytes [begin, end) alone.
  void Keep(size_t begin, size_t end);
  // Puts `content` in the place of each match; it comes from the match's last character.
  void Replace(const std::vector<Span>& matches, std::string_view content);

 private:
  std::string text_;
  std::vector<Origin> origins_;
};

}  // namespace sophia::io::tok
