#pragma once

#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sophia/io/jinja/parser.h"

namespace sophia::io::jinja {

// Bounds on one rendering. A unit of work is a node evaluated or 16 bytes of text handled.
struct Limits {
  size_t work = size_t{1} << 26;
  size_t output = kMaxText;
};

struct Rendering {
  std::string text;
  // Byte ranges [begin, end) of the text that {% generation %} tags rendered.
  std::vector<std::pair<size_t, size_t>> generations;
};

// Renders a template with the given variables; `now` is what strftime_now tells. Throws Error
// naming `name` and the line.
Rendering Render(const Template& parsed, std::string_view name, const Dict& variables,
                 const std::tm& now, const Limits& limits);

}  // namespace sophia::io::jinja
