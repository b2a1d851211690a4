#pragma once

#include <string_view>

#include "sophia/io/jinja/ast.h"

namespace sophia::io::jinja {

struct Template {
  Body body;
  bool has_generation = false;
};

// Parses a template in jinja2's grammar with the `break`, `continue` and `generation` tags. Filters
// and tests outside conditions must exist. Throws Error naming `name` and the line.
Template Parse(std::string_view source, std::string_view name);

}  // namespace sophia::io::jinja
