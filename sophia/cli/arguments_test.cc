#include "sophia/cli/arguments.h"

#include <gmock/gmock.h>

namespace sophia::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<Command> AllCommands() {
  uint32_t used = 0;
  for (const OptionSpec& spec : AllOptions()) used |= spec.commands;
  std::vector<Command> commands;
  for (uint32_t bit = 1; bit != 0; bit <<= 1) {
    if ((used & bit) != 0) commands.push_back(static_cast<Command>(bit));
  }
  return commands;
}

std::string HelpOf(Command command) {
  const std::vector<std::string> arguments = {"--help"};
  return std::get<HelpText>(ParseArguments({command, "x", "", ""}, arguments)).text;
}

// The help's lines about `name`, from it up to the next option. White space is left out, as lines
// may be broken anywhere.
std::string EntryOf(const std::string& help, const std::string& name) {
  constexpr std::string_view kEndsOfNames = ", =\n";
  for (size_t at = help.find(name); at != std::string::npos; at = help.find(name, at + 1)) {
    const std::string_view before = std::string_view(help).substr(0, at);
    const bool is_listed = before.ends_with(',') || before.ends_with("\n  ");
    if (!is_listed || kEndsOfNames.find(help[at + name.size()]) == std::string::npos) continue;
    std::string entry = help.substr(at, help.find("\n  -", at) - at);
    std::erase_if(entry, [](unsigned char c) { return std::isspace(c) != 0; });
    return entry;
  }
  return "";
}

TEST(HelpTest, EveryNameOfEveryOptionHasALine) {
  const std::vector<Command> commands = AllCommands();
  EXPECT_EQ(commands.size(), 16u);
  for (const Command command : commands) {
    const std::string help = HelpOf(command);
    for (const OptionSpec* spec : OptionsOf(command)) {
      SCOPED_TRACE(spec->key);
      std::string expected(spec->help);
      std::erase(expected, ' ');
      EXPECT_FALSE(expected.empty());
      for (const std::string& name : NamesOf(*spec)) {
        const std::string flag = spec->positional ? name : "--" + Dashed(name);
        EXPECT_THAT(EntryOf(help, flag), HasSubstr(expected)) << flag;
        if (spec->type != OptionType::kFlag) continue;
        EXPECT_THAT(EntryOf(help, "--no-" + Dashed(name)), HasSubstr(expected)) << flag;
      }
    }
  }
}

TEST(HelpTest, FlagsSayTheirDefault) {
  const std::string help = HelpOf(kTrain);
  EXPECT_THAT(EntryOf(help, "--shuffle"), HasSubstr("(onbydefault)"));
  EXPECT_THAT(EntryOf(help, "--use-rslora"), Not(HasSubstr("default")));
}

}  // namespace
}  // namespace sophia::cli
