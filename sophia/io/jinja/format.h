#pragma once

#include <string>
#include <string_view>

#include "sophia/io/jinja/runtime.h"

namespace sophia::io::jinja {

// Python's `format % operand`.
Value PercentFormat(Runtime& runtime, const Value& format, const Value& operand);
// Python's format.format(*args, **kwargs), with attributes and items looked up as jinja2 does.
std::string BraceFormat(Runtime& runtime, std::string_view format, const Arguments& arguments);

// markupsafe.escape for plain text.
std::string EscapeHtml(std::string_view text);

}  // namespace sophia::io::jinja
