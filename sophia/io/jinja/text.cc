#include "sophia/io/jinja/text.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

namespace sophia::io::jinja {
namespace {

constexpr char32_t kByteEscape = 0xDC00;

utf8proc_category_t Category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

// Full upper-case mappings of more than one code point (Unicode SpecialCasing.txt, Latin part).
struct SpecialUpper {
  char32_t from;
  std::u32string_view upper;
  std::u32string_view title;
};
constexpr std::array<SpecialUpper, 10> kSpecialUpper = {{
    {0xDF, U"SS", U"Ss"},
    {0x149, U"\u02BCN", U"\u02BCN"},
    {0x1F0, U"J\u030C", U"J\u030C"},
    {0xFB00, U"FF", U"Ff"},
    {0xFB01, U"FI", U"Fi"},
    {0xFB02, U"FL", U"Fl"},
    {0xFB03, U"FFI", U"Ffi"},
    {0xFB04, U"FFL", U"Ffl"},
    {0xFB05, U"ST", U"St"},
    {0xFB06, U"ST", U"St"},
}};

void AppendUpper(std::u32string& out, char32_t c, bool title) {
  for (const SpecialUpper& special : kSpecialUpper) {
    if (special.from == c) {
      out += title ? special.title : special.upper;
      return;
    }
  }
  const auto code = static_cast<utf8proc_int32_t>(c);
  out += static_cast<char32_t>(title ? utf8proc_totitle(code) : utf8proc_toupper(code));
}

// A sigma is final after a cased letter and before none (Unicode, Final_Sigma).
bool IsFinalSigma(std::u32string_view text, size_t at) {
  const auto ignorable = [](char32_t c) {
    const auto category = Category(c);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ||
           category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_LM ||
           category == UTF8PROC_CATEGORY_SK || c == '\'' || c == '.' || c == ':' || c == 0x2019;
  };
  size_t before = at;
  while (before > 0 && ignorable(text[before - 1])) --before;
  if (before == 0 || !IsCased(text[before - 1])) return false;
  size_t after = at + 1;
  while (after < text.size() && ignorable(text[after])) ++after;
  return after == text.size() || !IsCased(text[after]);
}

void AppendLower(std::u32string& out, std::u32string_view text, size_t at) {
  const char32_t c = text[at];
  if (c == 0x130) {
    out += U"i\u0307";
  } else if (c == 0x3A3) {
    out += IsFinalSigma(text, at) ? U'\u03C2' : U'\u03C3';
  } else {
    out += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
  }
}

bool IsUpperLetter(char32_t c) {
  return utf8proc_isupper(static_cast<utf8proc_int32_t>(c)) != 0 ||
         Category(c) == UTF8PROC_CATEGORY_LU;
}

bool IsLowerLetter(char32_t c) {
  return utf8proc_islower(static_cast<utf8proc_int32_t>(c)) != 0 ||
         Category(c) == UTF8PROC_CATEGORY_LL;
}

bool IsLineEnd(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

std::u32string Decode(std::string_view utf8) {
  std::u32string out;
  out.reserve(utf8.size());
  size_t at = 0;
  while (at < utf8.size()) {
    utf8proc_int32_t code = 0;
    const auto width = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(utf8.data()) + at,
                                        static_cast<utf8proc_ssize_t>(utf8.size() - at), &code);
    if (width <= 0) {
      out += static_cast<char32_t>(kByteEscape + static_cast<unsigned char>(utf8[at++]));
    } else {
      out += static_cast<char32_t>(code);
      at += static_cast<size_t>(width);
    }
  }
  return out;
}

std::string Encode(std::u32string_view code_points) {
  std::string out;
  out.reserve(code_points.size());
  for (const char32_t c : code_points) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c >= kByteEscape + 0x80 && c < kByteEscape + 0x100) {
      out += static_cast<char>(c - kByteEscape);
    } else if (c < 0x800) {
      out += {static_cast<char>(0xC0 | (c >> 6)), static_cast<char>(0x80 | (c & 0x3F))};
    } else if (c < 0x10000) {
      out += {static_cast<char>(0xE0 | (c >> 12)), static_cast<char>(0x80 | ((c >> 6) & 0x3F)),
              static_cast<char>(0x80 | (c & 0x3F))};
    } else {
      out += {static_cast<char>(0xF0 | (c >> 18)), static_cast<char>(0x80 | ((c >> 12) & 0x3F)),
              static_cast<char>(0x80 | ((c >> 6) & 0x3F)), static_cast<char>(0x80 | (c & 0x3F))};
    }
  }
  return out;
}

size_t CodePointCount(std::string_view utf8) {
  const bool ascii = std::all_of(utf8.begin(), utf8.end(), [](char c) { return (c & 0x80) == 0; });
  return ascii ? utf8.size() : Decode(utf8).size();
}

bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool IsPrintable(char32_t c) {
  if (c == ' ') return true;
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool IsAlpha(char32_t c) {
  const auto category = Category(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool IsDigit(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_ND; }

bool IsCased(char32_t c) {
  return IsUpperLetter(c) || IsLowerLetter(c) || Category(c) == UTF8PROC_CATEGORY_LT;
}

bool IsUpper(std::string_view text) {
  bool cased = false;
  for (const char32_t c : Decode(text)) {
    if (IsLowerLetter(c)) return false;
    cased = cased || IsUpperLetter(c);
  }
  return cased;
}

bool IsLower(std::string_view text) {
  bool cased = false;
  for (const char32_t c : Decode(text)) {
    if (IsUpperLetter(c)) return false;
    cased = cased || IsLowerLetter(c);
  }
  return cased;
}

std::string Upper(std::string_view text) {
  std::u32string out;
  for (const char32_t c : Decode(text)) AppendUpper(out, c, false);
  return Encode(out);
}

std::string Lower(std::string_view text) {
  const std::u32string code_points = Decode(text);
  std::u32string out;
  for (size_t i = 0; i < code_points.size(); ++i) AppendLower(out, code_points, i);
  return Encode(out);
}

std::string Title(std::string_view text) {
  const std::u32string code_points = Decode(text);
  std::u32string out;
  bool in_word = false;
  for (size_t i = 0; i < code_points.size(); ++i) {
    if (in_word) {
      AppendLower(out, code_points, i);
    } else {
      AppendUpper(out, code_points[i], true);
    }
    in_word = IsCased(code_points[i]);
  }
  return Encode(out);
}

std::string Capitalize(std::string_view text) {
  const std::u32string code_points = Decode(text);
  std::u32string out;
  for (size_t i = 0; i < code_points.size(); ++i) {
    if (i == 0) {
      AppendUpper(out, code_points[i], true);
    } else {
      AppendLower(out, code_points, i);
    }
  }
  return Encode(out);
}

std::string Strip(std::string_view text, std::optional<std::string_view> characters, bool left,
                  bool right) {
  const std::u32string code_points = Decode(text);
  const std::u32string set = Decode(characters.value_or(""));
  const auto strips = [&](char32_t c) {
    return characters ? set.find(c) != std::u32string::npos : IsSpace(c);
  };
  size_t begin = 0;
  size_t end = code_points.size();
  while (left && begin < end && strips(code_points[begin])) ++begin;
  while (right && end > begin && strips(code_points[end - 1])) --end;
  return Encode(std::u32string_view(code_points).substr(begin, end - begin));
}

std::vector<std::string> SplitLines(std::string_view text, bool keep_ends) {
  const std::u32string code_points = Decode(text);
  const std::u32string_view view = code_points;
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t i = 0; i < view.size(); ++i) {
    if (!IsLineEnd(view[i])) continue;
    const size_t end = i;
    if (view[i] == '\r' && i + 1 < view.size() && view[i + 1] == '\n') ++i;
    lines.push_back(Encode(view.substr(begin, (keep_ends ? i + 1 : end) - begin)));
    begin = i + 1;
  }
  if (begin < view.size()) lines.push_back(Encode(view.substr(begin)));
  return lines;
}

std::vector<std::string> SplitSpaces(std::string_view text, int64_t limit, bool from_right) {
  std::u32string code_points = Decode(text);
  if (from_right) std::reverse(code_points.begin(), code_points.end());
  const std::u32string_view view = code_points;
  std::vector<std::string> parts;
  const auto add = [&](std::u32string_view part) {
    std::u32string copy(part);
    if (from_right) std::reverse(copy.begin(), copy.end());
    parts.push_back(Encode(copy));
  };
  size_t at = 0;
  while (true) {
    while (at < view.size() && IsSpace(view[at])) ++at;
    if (at == view.size()) break;
    if (limit >= 0 && static_cast<int64_t>(parts.size()) >= limit) {
      add(view.substr(at));
      break;
    }
    const size_t begin = at;
    while (at < view.size() && !IsSpace(view[at])) ++at;
    add(view.substr(begin, at - begin));
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> SplitOn(std::string_view text, std::string_view separator, int64_t limit,
                                 bool from_right) {
  std::vector<std::string> parts;
  const auto more = [&] { return limit < 0 || static_cast<int64_t>(parts.size()) < limit; };
  if (from_right) {
    while (more()) {
      const size_t found = text.rfind(separator);
      if (found == std::string_view::npos) break;
      parts.emplace_back(text.substr(found + separator.size()));
      text = text.substr(0, found);
    }
    parts.emplace_back(text);
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  while (more()) {
    const size_t found = text.find(separator);
    if (found == std::string_view::npos) break;
    parts.emplace_back(text.substr(0, found));
    text.remove_prefix(found + separator.size());
  }
  parts.emplace_back(text);
  return parts;
}

std::string Replace(std::string_view text, std::string_view from, std::string_view to,
                    int64_t limit) {
  std::string out;
  int64_t done = 0;
  const auto more = [&] { return limit < 0 || done < limit; };
  if (from.empty()) {
    for (const char32_t c : Decode(text)) {
      if (more()) {
        out += to;
        ++done;
      }
      out += Encode({&c, 1});
    }
    if (more()) out += to;
    return out;
  }
  while (more()) {
    const size_t found = text.find(from);
    if (found == std::string_view::npos) break;
    out += text.substr(0, found);
    out += to;
    text.remove_prefix(found + from.size());
    ++done;
  }
  out += text;
  return out;
}

}  // namespace sophia::io::jinja
