#include "sophia/io/tokenizer/json_parts.h"

#include "sophia/base/error.h"
#include "sophia/io/tokenizer/utf8.h"

namespace sophia::io::tok {

const Json& RequireList(const Json& object, std::string_view key, std::string_view where) {
  if (!object.is_object()) Fail(where, "expected an object, got {}", object.type_name());
  const auto it = object.find(std::string(key));
  if (it == object.end()) Fail(where, "expected key '{}' (a list), got none", key);
  if (!it->is_array()) Fail(where, "expected '{}' to be a list, got {}", key, it->type_name());
  return *it;
}

Matcher RequirePattern(const Json& object, std::string_view key, std::string_view where) {
  const auto it = object.find(std::string(key));
  if (it == object.end() || !it->is_object()) {
    Fail(where, "expected '{}' to be {{\"String\": …}} or {{\"Regex\": …}}", key);
  }
  if (const auto regex = Find<std::string>(*it, "Regex", where)) return RegexMatcher(*regex, where);
  if (const auto text = Find<std::string>(*it, "String", where))
    return LiteralMatcher(*text, where);
  Fail(where, "expected '{}' to hold 'String' or 'Regex', got {}", key, Dump(*it).substr(0, 80));
}

char32_t RequireChar(const Json& object, std::string_view key, std::string_view where) {
  const auto text = Require<std::string>(object, key, where);
  if (text.empty() || CodePointAt(text, 0).size != text.size()) {
    Fail(where, "expected '{}' to be one character, got '{}'", key, text);
  }
  return CodePointAt(text, 0).value;
}

MetaspaceOptions ParseMetaspace(const Json& object, std::string_view where) {
  MetaspaceOptions options;
  AppendUtf8(options.replacement, RequireChar(object, "replacement", where));
  options.split = FindOr<bool>(object, "split", true, where);
  const auto scheme = Find<std::string>(object, "prepend_scheme", where);
  const bool add_prefix = FindOr<bool>(object, "add_prefix_space", true, where);
  if (!scheme || *scheme == "always") {
    options.prepend = PrependScheme::kAlways;
  } else if (*scheme == "first") {
    options.prepend = PrependScheme::kFirst;
  } else if (*scheme == "never") {
    options.prepend = PrependScheme::kNever;
  } else {
    Fail(where, "expected prepend_scheme always, first or never, got '{}'", *scheme);
  }
  if (!add_prefix && options.prepend != PrependScheme::kNever) {
    Fail(where, "expected prepend_scheme 'never' with add_prefix_space false, got '{}'",
         scheme.value_or("always"));
  }
  return options;
}

}  // namespace sophia::io::tok
