#include "sophia/cli/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/strings.h"

namespace sophia::cli {
namespace {

constexpr std::string_view kNegation = "no_";

// A name that the user may write, and what it means.
struct Named {
  const OptionSpec* spec;
  bool negated = false;
};

std::map<std::string, Named> NamesOf(Command command) {
  std::map<std::string, Named> names;
  for (const OptionSpec* spec : OptionsOf(command)) {
    for (const std::string& name : NamesOf(*spec)) {
      names[name] = {spec};
      if (spec->type == OptionType::kFlag) names[std::string(kNegation) + name] = {spec, true};
    }
  }
  return names;
}

std::vector<std::string> Keys(const std::map<std::string, Named>& names) {
  std::vector<std::string> keys;
  for (const auto& [name, named] : names) keys.push_back(name);
  return keys;
}

// Gives every name its dashes and splits "--name=value", so that a value is never taken apart.
std::vector<std::string> Normalised(std::span<const std::string> arguments,
                                    const std::map<std::string, Named>& names) {
  std::vector<std::string> result;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with("--")) {
      result.push_back(argument);
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    const auto found = names.find(Underscored(name));
    const bool is_flag = found == names.end() || found->second.spec->type == OptionType::kFlag;
    std::string flag = "--" + Dashed(name);
    if (is_flag && equals != std::string::npos) flag += argument.substr(equals);
    result.push_back(std::move(flag));
    if (is_flag) continue;
    if (equals != std::string::npos) {
      result.push_back(argument.substr(equals + 1));
    } else if (i + 1 < arguments.size()) {
      result.push_back(arguments[++i]);
    }
  }
  return result;
}

// An option of the table as the parser knows it; a flag is two.
struct Parsed {
  const OptionSpec* spec;
  bool negated;
  CLI::Option* option;
};

std::string FlagNames(const OptionSpec& spec, bool negated) {
  if (spec.positional) return std::string(spec.key);
  std::vector<std::string> names;
  for (const std::string& name : NamesOf(spec)) {
    names.push_back("--" + Dashed(negated ? std::string(kNegation) + name : name));
  }
  return Join(names, ",");
}

// Help shows both forms in one line, see HelpFormatter.
CLI::Option* AddFlag(CLI::App& app, const OptionSpec& spec, bool negated) {
  const std::string help =
      std::string(spec.help) + (spec.fallback == "true" ? " (on by default)" : "");
  return app.add_flag(FlagNames(spec, negated), help)
      ->group(negated ? "" : std::string(spec.group));
}

// Names the negation beside each flag: "--shuffle,--no-shuffle".
class HelpFormatter : public CLI::Formatter {
 public:
  explicit HelpFormatter(Command command) : command_(command) {}

  std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
    std::string names = CLI::Formatter::make_option_name(option, is_positional);
    for (const OptionSpec* spec : OptionsOf(command_)) {
      const bool is_this = option->check_lname(Dashed(spec->key));
      if (is_this && spec->type == OptionType::kFlag) names += "," + FlagNames(*spec, true);
    }
    return names;
  }

 private:
  Command command_;
};

CLI::Option* AddValue(CLI::App& app, const OptionSpec& spec) {
  const std::string help(spec.help);
  return app
      .add_option(
          FlagNames(spec, false), [](const CLI::results_t&) { return true; }, help)
      ->type_name(std::string(spec.value))
      ->default_str(std::string(spec.fallback))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
      ->group(std::string(spec.group));
}

std::vector<Parsed> AddOptions(CLI::App& app, Command command) {
  std::vector<Parsed> result;
  for (const OptionSpec* spec : OptionsOf(command)) {
    if (spec->type != OptionType::kFlag) {
      result.push_back({spec, false, AddValue(app, *spec)});
      continue;
    }
    for (const bool negated : {false, true}) {
      result.push_back({spec, negated, AddFlag(app, *spec, negated)});
    }
  }
  return result;
}

[[noreturn]] void RefuseExtra(const std::string& extra, const SubcommandText& subcommand,
                              const std::map<std::string, Named>& names) {
  if (!extra.starts_with('-')) {
    throw UsageError(
        fmt::format("sophia {}: expected options (see --help), got '{}'", subcommand.name, extra));
  }
  const std::string name = extra.substr(0, extra.find('='));
  const size_t letters = std::min(name.find_first_not_of('-'), name.size());
  std::vector<std::string> known;
  for (const std::string& key : Keys(names)) known.push_back("--" + Dashed(key));
  throw UsageError(fmt::format("sophia {}: expected a known option (see --help), got '{}'{}",
                               subcommand.name, name,
                               DidYouMean("--" + name.substr(letters), known)));
}

// Adds what the file says and the command line does not.
void ReadConfig(const std::string& path, const std::map<std::string, Named>& names,
                Values& values) {
  const Json file = ParseYaml(ReadFile(path), path);
  if (file.is_null()) return;
  if (!file.is_object()) {
    throw UsageError(fmt::format("{}: expected keys and values, got {}", path, file.type_name()));
  }
  std::map<std::string_view, std::string> seen;  // how each key is spelt
  for (const auto& [key, value] : file.items()) {
    const auto found = names.find(Underscored(key));
    if (found == names.end()) {
      throw UsageError(fmt::format("{}: expected a known key, got '{}'{}", path, key,
                                   DidYouMean(Underscored(key), Keys(names))));
    }
    if (found->second.spec->key == "config") {
      throw UsageError(fmt::format("{}: expected options alone, got another '{}'", path, key));
    }
    const auto& [spec, negated] = found->second;
    const auto [first, is_new] = seen.emplace(spec->key, key);
    if (!is_new) {
      throw UsageError(fmt::format("{}: expected each option once, got '{}' again as '{}'", path,
                                   first->second, key));
    }
    if (value.is_null()) continue;
    Json checked = ValueFromYaml(*spec, value, fmt::format("{}: {}", path, key));
    if (negated) checked = !checked.get<bool>();
    if (!values.Has(spec->key)) values.Set(*spec, std::move(checked));
  }
}

}  // namespace

std::variant<Values, HelpText> ParseArguments(const SubcommandText& subcommand,
                                              std::span<const std::string> arguments) {
  const std::map<std::string, Named> names = NamesOf(subcommand.command);
  CLI::App app(std::string(subcommand.summary), fmt::format("sophia {}", subcommand.name));
  app.footer(fmt::format("Example:\n  {}", subcommand.example));
  app.formatter(std::make_shared<HelpFormatter>(subcommand.command));
  app.get_formatter()->column_width(44);
  app.allow_extras();
  const std::vector<Parsed> options = AddOptions(app, subcommand.command);
  std::vector<std::string> reversed = Normalised(arguments, names);
  std::reverse(reversed.begin(), reversed.end());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    return HelpText{app.help()};
  } catch (const CLI::ParseError& error) {
    throw UsageError(fmt::format("sophia {}: {}", subcommand.name, error.what()));
  }
  if (const auto extras = app.remaining(); !extras.empty()) {
    const auto flag = std::ranges::find_if(
        extras, [](const std::string& extra) { return extra.starts_with('-'); });
    RefuseExtra(flag == extras.end() ? extras[0] : *flag, subcommand, names);
  }
  Values values(subcommand.command);
  for (const auto& [spec, negated, option] : options) {
    if (option->empty()) continue;
    const std::string flag = fmt::format("--{}", Dashed(spec->key));
    Json value = spec->type == OptionType::kTexts
                     ? ValueFromYaml(*spec, Json(option->results()), flag)
                     : ValueFromText(*spec, option->results().back(), flag);
    if (negated) value = !value.get<bool>();
    if (values.Has(spec->key)) {
      throw UsageError(fmt::format("expected --{0} or --no-{0}, got both", Dashed(spec->key)));
    }
    values.Set(*spec, std::move(value));
  }
  const bool has_config = names.contains("config") && values.Has("config");
  if (has_config) ReadConfig(values.Text("config"), names, values);
  return values;
}

}  // namespace sophia::cli
