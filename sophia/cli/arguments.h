#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "sophia/cli/options.h"

namespace sophia::cli {

// What --help prints.
struct HelpText {
  std::string text;
};

struct SubcommandText {
  Command command;
  std::string_view name;
  std::string_view summary;
  std::string_view example;
};

// Reads the arguments after the subcommand's name, then the YAML file of --config beneath them.
// Names may be written with dashes or underscores, values as "--name value" or "--name=value".
// Throws UsageError for an unknown name, with the nearest known one, and for a value of another
// type; Error when the YAML file cannot be read.
std::variant<Values, HelpText> ParseArguments(const SubcommandText& subcommand,
                                              std::span<const std::string> arguments);

}  // namespace sophia::cli
