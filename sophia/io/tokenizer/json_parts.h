#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sophia/base/json.h"
#include "sophia/io/tokenizer/regex.h"

namespace sophia::io::tok {

// Helpers for the components of tokenizer.json, each an object with a "type". All throw Error
// naming `where` on malformed objects.

// The member `key`, which must be a list; its items are of type Json.
const Json& RequireList(const Json& object, std::string_view key, std::string_view where);

// A member {"String": text} or {"Regex": pattern}.
Matcher RequirePattern(const Json& object, std::string_view key, std::string_view where);

// A member that is a string of one code point.
char32_t RequireChar(const Json& object, std::string_view key, std::string_view where);

// Whether a Metaspace component (pre-tokenizer or decoder) adds its mark before a text.
enum class PrependScheme : uint8_t { kAlways, kFirst, kNever };

struct MetaspaceOptions {
  std::string replacement;  // one code point
  PrependScheme prepend = PrependScheme::kAlways;
  bool split = true;
};

MetaspaceOptions ParseMetaspace(const Json& object, std::string_view where);

}  // namespace sophia::io::tok
