#include "sophia/io/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/io/tokenizer/json_parts.h"
#include "sophia/io/tokenizer/regex.h"
#include "sophia/io/tokenizer/utf8.h"

namespace sophia::io::tok {
namespace {

Normalizer UnicodeForm(int options) {
  return [options](std::string& text, bool&) {
    if (IsAscii(text)) return;
    utf8proc_uint8_t* mapped = nullptr;
    const utf8proc_ssize_t size =
        utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                     static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                     static_cast<utf8proc_option_t>(UTF8PROC_STABLE | options));
    if (size < 0) Fail("normalizer", "expected valid UTF-8, got: {}", utf8proc_errmsg(size));
    const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(mapped, std::free);
    text.assign(reinterpret_cast<const char*>(mapped), static_cast<size_t>(size));
  };
}

// Lower case of single characters, without context (no final sigma).
void Lowercase(std::string& text, bool&) {
  constexpr char32_t kCapitalIWithDot = 0x130;
  constexpr std::string_view kSmallIWithDot = "i\xCC\x87";
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = CodePointAt(text, at);
    if (point.value == kCapitalIWithDot) {
      out.append(kSmallIWithDot);
    } else {
      const auto lower = utf8proc_tolower(static_cast<utf8proc_int32_t>(point.value));
      AppendUtf8(out, static_cast<char32_t>(lower));
    }
    at += point.size;
  }
  text = std::move(out);
}

void StripLeft(std::string& text, bool& starts_text) {
  size_t at = 0;
  while (at < text.size()) {
    const CodePoint point = CodePointAt(text, at);
    if (!IsWhiteSpace(point.value)) break;
    at += point.size;
  }
  if (at > 0) starts_text = false;
  text.erase(0, at);
}

void StripRight(std::string& text) {
  while (!text.empty()) {
    const size_t size = LastCodePointSize(text);
    if (!IsWhiteSpace(CodePointAt(text, text.size() - size).value)) break;
    text.resize(text.size() - size);
  }
}

Normalizer Replacement(Matcher matcher, std::string content) {
  return [matcher = std::move(matcher), content = std::move(content)](std::string& text,
                                                                      bool& starts_text) {
    if (text.empty()) return;
    const std::vector<Span> matches = matcher(text);
    if (matches.empty()) return;
    const Span first = matches.front();
    const bool keeps_first_place = first.begin > 0 || first.end == 0 ||
                                   (first.end == CodePointAt(text, 0).size && !content.empty());
    if (!keeps_first_place) starts_text = false;
    text = ReplaceMatches(text, matches, content);
  };
}

constexpr int kDeepest = 32;

Normalizer Parse(const Json& object, std::string_view where, int depth) {
  if (object.is_null()) return {};
  if (depth > kDeepest) Fail(where, "expected at most {} nested sequences, got more", kDeepest);
  const auto type = Require<std::string>(object, "type", where);
  if (type == "NFC") return NfcNormalizer();
  if (type == "NFD") return UnicodeForm(UTF8PROC_DECOMPOSE);
  if (type == "NFKC") return UnicodeForm(UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
  if (type == "NFKD") return UnicodeForm(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
  if (type == "Lowercase") return Lowercase;
  if (type == "Prepend") return PrependNormalizer(Require<std::string>(object, "prepend", where));
  if (type == "Replace") {
    return Replacement(RequirePattern(object, "pattern", where),
                       Require<std::string>(object, "content", where));
  }
  if (type == "Strip") {
    return [left = Require<bool>(object, "strip_left", where),
            right = Require<bool>(object, "strip_right", where)](std::string& text,
                                                                 bool& starts_text) {
      if (left) StripLeft(text, starts_text);
      if (right) StripRight(text);
    };
  }
  if (type == "Sequence") {
    std::vector<Normalizer> parts;
    for (const Json& part : RequireList(object, "normalizers", where)) {
      parts.push_back(Parse(part, where, depth + 1));
    }
    return NormalizerSequence(std::move(parts));
  }
  Fail(where,
       "expected NFC, NFD, NFKC, NFKD, Lowercase, Replace, Prepend, Strip or Sequence, got the "
       "unsupported normalizer '{}'",
       type);
}

}  // namespace

Normalizer ParseNormalizer(const Json& object, std::string_view where) {
  return Parse(object, where, 0);
}

Normalizer NfcNormalizer() { return UnicodeForm(UTF8PROC_COMPOSE); }

Normalizer PrependNormalizer(std::string prefix) {
  return [prefix = std::move(prefix)](std::string& text, bool&) {
    if (!text.empty()) text.insert(0, prefix);
  };
}

Normalizer ReplaceNormalizer(const std::string& from, std::string to) {
  return Replacement(LiteralMatcher(from, "normalizer"), std::move(to));
}

Normalizer NormalizerSequence(std::vector<Normalizer> normalizers) {
  std::erase_if(normalizers, [](const Normalizer& normalizer) { return !normalizer; });
  return [normalizers = std::move(normalizers)](std::string& text, bool& starts_text) {
    for (const Normalizer& normalizer : normalizers) normalizer(text, starts_text);
  };
}

}  // namespace sophia::io::tok
