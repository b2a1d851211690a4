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

std::string MapUnicode(std::string_view text, int options) {
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | options));
  if (size < 0) Fail("normalizer", "expected valid UTF-8, got: {}", utf8proc_errmsg(size));
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(mapped, std::free);
  return {reinterpret_cast<const char*>(mapped), static_cast<size_t>(size)};
}

// Where the characters of a text begin.
std::vector<size_t> CharacterStarts(std::string_view text) {
  std::vector<size_t> starts;
  for (size_t at = 0; at < text.size(); at += CodePointAt(text, at).size) starts.push_back(at);
  return starts;
}

// Appends the normalised form of a few characters. Its first character comes from their first, the
// others correspond to theirs from the end: what is composed or decomposed is at the front.
void AppendMapped(const AlignedView& part, std::string_view mapped, AlignedText& out) {
  const std::vector<size_t> from = CharacterStarts(part.text);
  const std::vector<size_t> to = CharacterStarts(mapped);
  for (size_t i = 0; i < to.size(); ++i) {
    const size_t end = i + 1 < to.size() ? to[i + 1] : mapped.size();
    const size_t source = i > 0 && i + from.size() > to.size() ? i + from.size() - to.size() : 0;
    out.Append(mapped.substr(to[i], end - to[i]), part.origins[from[source]]);
  }
}

bool IsStarter(char32_t value) {
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(value))->combining_class == 0;
}

// Normalises the shortest parts that do not change each other, so that origins stay near.
Normalizer UnicodeForm(int options) {
  return [options](AlignedText& text) {
    const AlignedView whole = text.view();
    if (IsAscii(whole.text) || MapUnicode(whole.text, options) == whole.text) return;
    AlignedText out;
    size_t begin = 0;
    std::string mapped;
    for (size_t at = 0; at < whole.text.size();) {
      size_t end = at + CodePointAt(whole.text, at).size;
      while (end < whole.text.size() && !IsStarter(CodePointAt(whole.text, end).value)) {
        end += CodePointAt(whole.text, end).size;
      }
      std::string alone = MapUnicode(whole.text.substr(at, end - at), options);
      std::string joined = MapUnicode(whole.text.substr(begin, end - begin), options);
      if (joined == mapped + alone) {
        AppendMapped(whole.Part(begin, at), mapped, out);
        begin = at;
        mapped = std::move(alone);
      } else {
        mapped = std::move(joined);
      }
      at = end;
    }
    AppendMapped(whole.Part(begin, whole.text.size()), mapped, out);
    text = std::move(out);
  };
}

// Lower case of single characters, without context (no final sigma).
void Lowercase(AlignedText& text) {
  constexpr char32_t kCapitalIWithDot = 0x130;
  constexpr std::string_view kSmallIWithDot = "i\xCC\x87";
  const AlignedView whole = text.view();
  AlignedText out;
  for (size_t at = 0; at < whole.text.size();) {
    const CodePoint point = CodePointAt(whole.text, at);
    std::string lower;
    if (point.value == kCapitalIWithDot) {
      lower = kSmallIWithDot;
    } else {
      const auto value = utf8proc_tolower(static_cast<utf8proc_int32_t>(point.value));
      AppendUtf8(lower, static_cast<char32_t>(value));
    }
    out.Append(lower, whole.origins[at]);
    at += point.size;
  }
  text = std::move(out);
}

void Strip(AlignedText& text, bool left, bool right) {
  const std::string_view whole = text.text();
  size_t begin = 0;
  size_t end = whole.size();
  while (left && begin < end && IsWhiteSpace(CodePointAt(whole, begin).value)) {
    begin += CodePointAt(whole, begin).size;
  }
  while (right && begin < end) {
    const size_t size = LastCodePointSize(whole.substr(0, end));
    if (!IsWhiteSpace(CodePointAt(whole, end - size).value)) break;
    end -= size;
  }
  text.Keep(begin, end);
}

Normalizer Replacement(Matcher matcher, std::string content) {
  return [matcher = std::move(matcher), content = std::move(content)](AlignedText& text) {
    if (!text.text().empty()) text.Replace(matcher(text.text()), content);
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
            right = Require<bool>(object, "strip_right", where)](AlignedText& text) {
      Strip(text, left, right);
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
  return [prefix = std::move(prefix)](AlignedText& text) { text.Prepend(prefix); };
}

Normalizer ReplaceNormalizer(const std::string& from, std::string to) {
  return Replacement(LiteralMatcher(from, "normalizer"), std::move(to));
}

Normalizer NormalizerSequence(std::vector<Normalizer> normalizers) {
  std::erase_if(normalizers, [](const Normalizer& normalizer) { return !normalizer; });
  return [normalizers = std::move(normalizers)](AlignedText& text) {
    for (const Normalizer& normalizer : normalizers) normalizer(text);
  };
}

}  // namespace sophia::io::tok
