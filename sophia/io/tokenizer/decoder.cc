#include "sophia/io/tokenizer/decoder.h"

#include <charconv>
#include <optional>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/io/tokenizer/byte_level.h"
#include "sophia/io/tokenizer/json_parts.h"
#include "sophia/io/tokenizer/regex.h"
#include "sophia/io/tokenizer/utf8.h"

namespace sophia::io::tok {
namespace {

using Tokens = std::vector<std::string>;

// The byte of a token such as "<0x0A>".
std::optional<char> ByteOfToken(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return std::nullopt;
  unsigned value = 0;
  const char* end = token.data() + 5;
  const auto [stop, error] = std::from_chars(token.data() + 3, end, value, 16);
  if (error != std::errc() || stop != end) return std::nullopt;
  return static_cast<char>(value);
}

// A run of byte tokens is one text when it is valid UTF-8, else one U+FFFD for each byte.
Tokens DecodeByteFallback(Tokens tokens) {
  Tokens out;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (IsValidUtf8(bytes)) {
      out.push_back(bytes);
    } else {
      out.insert(out.end(), bytes.size(), std::string(kReplacementCharacter));
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const std::optional<char> byte = ByteOfToken(token)) {
      bytes.push_back(*byte);
    } else {
      flush();
      out.push_back(std::move(token));
    }
  }
  flush();
  return out;
}

Decoder Metaspace(const MetaspaceOptions& options) {
  return [options](Tokens tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      const bool drop = i == 0 && options.prepend != PrependScheme::kNever;
      tokens[i] = ReplaceAll(std::move(tokens[i]), options.replacement, drop ? "" : " ");
    }
    return tokens;
  };
}

Decoder Replacement(Matcher matcher, std::string content) {
  return [matcher = std::move(matcher), content = std::move(content)](Tokens tokens) {
    for (std::string& token : tokens) {
      if (!token.empty()) token = ReplaceMatches(token, matcher(token), content);
    }
    return tokens;
  };
}

Tokens Fuse(const Tokens& tokens) { return {Join(tokens, "")}; }

// Removes up to `start` copies of `content` at the start of each token and `stop` at its end.
Decoder Strip(const std::string& content, int64_t start, int64_t stop) {
  return [content, start, stop](Tokens tokens) {
    for (std::string& token : tokens) {
      std::string_view rest = token;
      for (int64_t i = 0; i < start && rest.starts_with(content); ++i) {
        rest.remove_prefix(content.size());
      }
      for (int64_t i = 0; i < stop && rest.ends_with(content); ++i) {
        rest.remove_suffix(content.size());
      }
      token = std::string(rest);
    }
    return tokens;
  };
}

Decoder Sequence(std::vector<Decoder> decoders) {
  std::erase_if(decoders, [](const Decoder& decoder) { return !decoder; });
  return [decoders = std::move(decoders)](Tokens tokens) {
    for (const Decoder& decoder : decoders) tokens = decoder(std::move(tokens));
    return tokens;
  };
}

constexpr int kDeepest = 32;

Decoder Parse(const Json& object, std::string_view where, int depth) {
  if (object.is_null()) return {};
  if (depth > kDeepest) Fail(where, "expected at most {} nested sequences, got more", kDeepest);
  const auto type = Require<std::string>(object, "type", where);
  if (type == "ByteLevel") return ByteLevelDecoder();
  if (type == "ByteFallback") return DecodeByteFallback;
  if (type == "Metaspace") return Metaspace(ParseMetaspace(object, where));
  if (type == "Fuse") return Fuse;
  if (type == "Replace") {
    return Replacement(RequirePattern(object, "pattern", where),
                       Require<std::string>(object, "content", where));
  }
  if (type == "Strip") {
    std::string content;
    AppendUtf8(content, RequireChar(object, "content", where));
    return Strip(content, Require<int64_t>(object, "start", where),
                 Require<int64_t>(object, "stop", where));
  }
  if (type == "Sequence") {
    std::vector<Decoder> parts;
    for (const Json& part : RequireList(object, "decoders", where)) {
      parts.push_back(Parse(part, where, depth + 1));
    }
    return Sequence(std::move(parts));
  }
  Fail(where,
       "expected ByteLevel, ByteFallback, Metaspace, Replace, Fuse, Strip or Sequence, got the "
       "unsupported decoder '{}'",
       type);
}

}  // namespace

Decoder ParseDecoder(const Json& object, std::string_view where) { return Parse(object, where, 0); }

Decoder ByteLevelDecoder() {
  return [](const Tokens& tokens) -> Tokens {
    std::string bytes;
    for (const std::string& token : tokens) bytes += BytesOfAlphabet(token).value_or(token);
    return {ReplaceInvalidUtf8(bytes)};
  };
}

Decoder SentencePieceDecoder(bool strip_first_space) {
  std::vector<Decoder> parts = {Replacement(LiteralMatcher("▁", "decoder"), " "),
                                DecodeByteFallback, Fuse};
  if (strip_first_space) parts.push_back(Strip(" ", 1, 0));
  return Sequence(std::move(parts));
}

}  // namespace sophia::io::tok
