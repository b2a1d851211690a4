#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/io/tokenizer/regex.h"

namespace sophia::io::tok {

inline constexpr int32_t kNoToken = -1;

// A part of the text under tokenisation: open (to be split further) or already one token.
struct Piece {
  size_t begin;
  size_t end;
  int32_t id = kNoToken;
  bool starts_text = false;  // its first character comes from the first character of the input
};

// What to do with the matches of a splitter, named as in tokenizer.json.
enum class SplitBehavior : uint8_t {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};

// Cuts [0, size) at the matches; spans may be empty. `invert` swaps matches and the rest.
std::vector<Span> CutAt(const std::vector<Span>& matches, size_t size, SplitBehavior behavior,
                        bool invert);

// A text cut into pieces, in order. Empty pieces are dropped.
class PieceList {
 public:
  explicit PieceList(std::string text);

  const std::vector<Piece>& pieces() const { return pieces_; }
  std::string_view View(const Piece& piece) const {
    return std::string_view(text_).substr(piece.begin, piece.end - piece.begin);
  }

  // Replaces the text of every open piece; the callback appends the new text to `out` and clears
  // `starts_text` if it drops the first character.
  using Rewriter = std::function<void(std::string_view piece, bool& starts_text, std::string& out)>;
  void Rewrite(const Rewriter& rewrite);

  // Replaces every open piece by the pieces the callback gives (offsets relative to the piece).
  using Cutter = std::function<void(std::string_view piece, std::vector<Piece>& out)>;
  void Cut(const Cutter& cut);

  void Split(const Matcher& matcher, SplitBehavior behavior, bool invert = false);

 private:
  std::string text_;
  std::vector<Piece> pieces_;
};

}  // namespace sophia::io::tok
