#include "sophia/io/tokenizer/pre_tokenizer.h"

#include <utility>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/io/tokenizer/byte_level.h"
#include "sophia/io/tokenizer/json_parts.h"
#include "sophia/io/tokenizer/utf8.h"

namespace sophia::io::tok {
namespace {

// Runs of word characters or of anything but word characters and white space, where word characters
// are those of UTS 18's \w.
constexpr std::string_view kWordOrSymbols =
    R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+)"
    R"(|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+)";

SplitBehavior ParseBehavior(const std::string& name, std::string_view where) {
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  Fail(where,
       "expected behavior Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous, got "
       "'{}'",
       name);
}

PreTokenizer Splitter(Matcher matcher, SplitBehavior behavior, bool invert) {
  return [matcher = std::move(matcher), behavior, invert](PieceList& pieces) {
    pieces.Split(matcher, behavior, invert);
  };
}

PreTokenizer Metaspace(const MetaspaceOptions& options, std::string_view where) {
  return [options, space = LiteralMatcher(" ", where),
          mark = LiteralMatcher(options.replacement, where)](PieceList& pieces) {
    pieces.Rewrite([&](const AlignedView& piece, AlignedText& out) {
      AlignedText text;
      text.Append(piece);
      text.Replace(space(piece.text), options.replacement);
      const bool wanted =
          options.prepend == PrependScheme::kAlways ||
          (options.prepend == PrependScheme::kFirst && piece.origins.front().begin == 0);
      if (wanted && !text.text().starts_with(options.replacement)) {
        text.Prepend(options.replacement);
      }
      out.Append(text.view());
    });
    if (options.split) pieces.Split(mark, SplitBehavior::kMergedWithNext);
  };
}

constexpr int kDeepest = 32;

PreTokenizer Parse(const Json& object, std::string_view where, int depth) {
  if (object.is_null()) return {};
  if (depth > kDeepest) Fail(where, "expected at most {} nested sequences, got more", kDeepest);
  const auto type = Require<std::string>(object, "type", where);
  if (type == "ByteLevel") {
    return ByteLevelPreTokenizer(FindOr<bool>(object, "add_prefix_space", true, where),
                                 FindOr<bool>(object, "use_regex", true, where));
  }
  if (type == "Split") {
    return Splitter(RequirePattern(object, "pattern", where),
                    ParseBehavior(Require<std::string>(object, "behavior", where), where),
                    Require<bool>(object, "invert", where));
  }
  if (type == "Digits") {
    const bool single = FindOr<bool>(object, "individual_digits", false, where);
    return Splitter(CharMatcher(IsNumeric),
                    single ? SplitBehavior::kIsolated : SplitBehavior::kContiguous, false);
  }
  if (type == "Whitespace") {
    return Splitter(RegexMatcher(std::string(kWordOrSymbols), where), SplitBehavior::kRemoved,
                    true);
  }
  if (type == "WhitespaceSplit") {
    return Splitter(CharMatcher(IsWhiteSpace), SplitBehavior::kRemoved, false);
  }
  if (type == "Punctuation") {
    const auto behavior = FindOr<std::string>(object, "behavior", "Isolated", where);
    return Splitter(CharMatcher(IsPunctuation), ParseBehavior(behavior, where), false);
  }
  if (type == "Metaspace") return Metaspace(ParseMetaspace(object, where), where);
  if (type == "Sequence") {
    std::vector<PreTokenizer> parts;
    for (const Json& part : RequireList(object, "pretokenizers", where)) {
      parts.push_back(Parse(part, where, depth + 1));
    }
    return PreTokenizerSequence(std::move(parts));
  }
  Fail(where,
       "expected ByteLevel, Split, Digits, Whitespace, WhitespaceSplit, Metaspace, Punctuation or "
       "Sequence, got the unsupported pre-tokenizer '{}'",
       type);
}

}  // namespace

PreTokenizer ParsePreTokenizer(const Json& object, std::string_view where) {
  return Parse(object, where, 0);
}

PreTokenizer ByteLevelPreTokenizer(bool add_prefix_space, bool use_regex) {
  Matcher words = use_regex ? RegexMatcher(std::string(kGpt2Pattern), "ByteLevel") : Matcher();
  return [add_prefix_space, words = std::move(words)](PieceList& pieces) {
    if (add_prefix_space) {
      pieces.Rewrite([](const AlignedView& piece, AlignedText& out) {
        if (!piece.text.starts_with(' ')) out.Append(" ", piece.origins.front());
        out.Append(piece);
      });
    }
    if (words) pieces.Split(words, SplitBehavior::kIsolated);
    pieces.Rewrite([&alphabet = ByteAlphabet()](const AlignedView& piece, AlignedText& out) {
      for (size_t i = 0; i < piece.text.size(); ++i) {
        out.Append(alphabet[static_cast<unsigned char>(piece.text[i])], piece.origins[i]);
      }
    });
  };
}

PreTokenizer SplitPreTokenizer(const std::string& pattern, std::string_view where) {
  return Splitter(RegexMatcher(pattern, where), SplitBehavior::kIsolated, false);
}

PreTokenizer PreTokenizerSequence(std::vector<PreTokenizer> parts) {
  std::erase_if(parts, [](const PreTokenizer& part) { return !part; });
  return [parts = std::move(parts)](PieceList& pieces) {
    for (const PreTokenizer& part : parts) part(pieces);
  };
}

}  // namespace sophia::io::tok
