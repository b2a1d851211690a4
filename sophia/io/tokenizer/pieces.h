#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/io/tokenizer/aligned_text.h"
#include "sophia/io/tokenizer/regex.h"

namespace sophia::io::tok {

inline constexpr int32_t kNoToken = -1;

// A part of the text under tokenisation: open (to be split further) or already one token.
struct Piece {
  size_t begin;
  size_t end;
  int32_t id = kNoToken;
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
  // The text must be valid UTF-8.
  explicit PieceList(std::string text);

  const std::vector<Piece>& pieces() const { return pieces_; }
  AlignedView View(const Piece& piece) const { return text_.view().Part(piece.begin, piece.end); }

  // Replaces the text of every open piece; the callback appends the new text to `out`.
  using Rewriter = std::function<void(const AlignedView& piece, AlignedText& out)>;
  void Rewrite(const Rewriter& rewrite);

  // Replaces every open piece by the pieces the callback gives (offsets relative to the piece).
  using Cutter = std::function<void(std::string_view piece, std::vector<Piece>& out)>;
  void Cut(const Cutter& cut);

  void Split(const Matcher& matcher, SplitBehavior behavior, bool invert = false);

 private:
  AlignedText text_;
  std::vector<Piece> pieces_;
};

}  // namespace sophia::io::tok
