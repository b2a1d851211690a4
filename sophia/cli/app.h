#pragma once

#include <span>
#include <string>
#include <string_view>

namespace sophia::cli {

inline constexpr std::string_view kVersion = "0.1.0";

// The program: arguments without its own name. Returns 0, 1 after a failure or 2 after wrong usage,
// with one line on stderr that says why.
int Run(std::span<const std::string> arguments);

}  // namespace sophia::cli
