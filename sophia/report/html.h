#pragma once

#include <string>
#include <string_view>

#include "sophia/base/json.h"

namespace sophia::report {

// `text` as HTML shows it, within elements and quoted attributes.
std::string Escape(std::string_view text);

// The same cut to `bytes`, with "…" where something is left out.
std::string EscapeStart(std::string_view text, size_t bytes);

// A table of an object's members, those of inner objects as "outer.inner". Numbers below a name
// with "bytes" in it are shown as sizes.
std::string Table(const Json& object);

}  // namespace sophia::report
