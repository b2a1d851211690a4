#include "sophia/io/tokenizer/pieces.h"

#include <algorithm>
#include <utility>

namespace sophia::io::tok {
namespace {

struct Part {
  Span span;
  bool is_match;
};

std::vector<Part> Alternate(const std::vector<Span>& matches, size_t size, bool invert) {
  std::vector<Part> parts;
  parts.reserve(2 * matches.size() + 1);
  size_t done = 0;
  for (const Span& match : matches) {
    if (done != match.begin) parts.push_back({{done, match.begin}, invert});
    parts.push_back({match, !invert});
    done = match.end;
  }
  if (done != size) parts.push_back({{done, size}, invert});
  return parts;
}

// Joins each part to the one before it where `joins(is_match, previous is_match)` holds.
template <typename Joins>
std::vector<Span> JoinParts(const std::vector<Part>& parts, const Joins& joins) {
  std::vector<Span> spans;
  bool previous = false;
  for (const Part& part : parts) {
    if (!spans.empty() && joins(part.is_match, previous)) {
      spans.back().begin = std::min(spans.back().begin, part.span.begin);
      spans.back().end = std::max(spans.back().end, part.span.end);
    } else {
      spans.push_back(part.span);
    }
    previous = part.is_match;
  }
  return spans;
}

}  // namespace

std::vector<Span> CutAt(const std::vector<Span>& matches, size_t size, SplitBehavior behavior,
                        bool invert) {
  std::vector<Part> parts = Alternate(matches, size, invert);
  const auto starts_match = [](bool is_match, bool previous) { return is_match && !previous; };
  switch (behavior) {
    case SplitBehavior::kRemoved:
      std::erase_if(parts, [](const Part& part) { return part.is_match; });
      [[fallthrough]];
    case SplitBehavior::kIsolated:
      return JoinParts(parts, [](bool, bool) { return false; });
    case SplitBehavior::kContiguous:
      return JoinParts(parts, [](bool is_match, bool previous) { return is_match == previous; });
    case SplitBehavior::kMergedWithPrevious:
      return JoinParts(parts, starts_match);
    case SplitBehavior::kMergedWithNext: {
      std::reverse(parts.begin(), parts.end());
      std::vector<Span> spans = JoinParts(parts, starts_match);
      std::reverse(spans.begin(), spans.end());
      return spans;
    }
  }
  return {};
}

PieceList::PieceList(std::string text) : text_(std::move(text)) {
  if (!text_.text().empty()) pieces_.push_back({0, text_.text().size()});
}

void PieceList::Rewrite(const Rewriter& rewrite) {
  AlignedText text;
  std::vector<Piece> pieces;
  pieces.reserve(pieces_.size());
  for (const Piece& piece : pieces_) {
    Piece rewritten = piece;
    rewritten.begin = text.text().size();
    if (piece.id == kNoToken) {
      rewrite(View(piece), text);
    } else {
      text.Append(View(piece));
    }
    rewritten.end = text.text().size();
    if (rewritten.begin != rewritten.end) pieces.push_back(rewritten);
  }
  text_ = std::move(text);
  pieces_ = std::move(pieces);
}

void PieceList::Cut(const Cutter& cut) {
  std::vector<Piece> pieces;
  pieces.reserve(pieces_.size());
  std::vector<Piece> parts;
  for (const Piece& piece : pieces_) {
    if (piece.id != kNoToken) {
      pieces.push_back(piece);
      continue;
    }
    parts.clear();
    cut(View(piece).text, parts);
    for (Piece part : parts) {
      if (part.begin == part.end) continue;
      part.begin += piece.begin;
      part.end += piece.begin;
      pieces.push_back(part);
    }
  }
  pieces_ = std::move(pieces);
}

void PieceList::Split(const Matcher& matcher, SplitBehavior behavior, bool invert) {
  Cut([&](std::string_view piece, std::vector<Piece>& out) {
    for (const Span& span : CutAt(matcher(piece), piece.size(), behavior, invert)) {
      out.push_back({span.begin, span.end});
    }
  });
}

}  // namespace sophia::io::tok
