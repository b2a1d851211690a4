#include "sophia/report/html.h"

#include <fmt/format.h>

#include "sophia/base/strings.h"

namespace sophia::report {
namespace {

constexpr size_t kLongestValue = 2000;

std::string ValueText(const std::string& name, const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() && name.find("bytes") != std::string::npos) {
    return HumanBytes(value.get<double>());
  }
  return Dump(value);
}

void AddRows(const std::string& prefix, const Json& object, std::string& rows) {
  for (const auto& [key, value] : object.items()) {
    const std::string name = prefix + key;
    if (value.is_object()) {
      AddRows(name + ".", value, rows);
      continue;
    }
    rows += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", EscapeStart(name, kLongestValue),
                        EscapeStart(ValueText(name, value), kLongestValue));
  }
}

}  // namespace

std::string Escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string EscapeStart(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return Escape(text);
  // Not within a character of UTF-8.
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) --bytes;
  return Escape(text.substr(0, bytes)) + "…";
}

std::string Table(const Json& object) {
  std::string rows;
  AddRows("", object, rows);
  return "<table>\n" + rows + "</table>\n";
}

}  // namespace sophia::report
