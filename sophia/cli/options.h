#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/base/json.h"
#include "sophia/cli/range.h"

namespace sophia::cli {

// Wrong use of the program: it exits with 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The subcommands, as bits of OptionSpec::commands.
enum Command : uint32_t {
  kTrain = 1,
  kGenerate = 2,
  kChat = 4,
  kTokenize = 8,
  kLogits = 16,
  kInspect = 32,
  kDoctor = 64,
  kProve = 128,
  kPlan = 256,
  kMerge = 512,
  kExport = 1024,
  kKernels = 2048,
  kPreview = 4096,
  kEval = 8192,
  kCompare = 16384,
  kReport = 32768,
};

enum class OptionType : uint8_t {
  kFlag,  // --name and --no-name
  kInteger,
  kNumber,
  kText,
  kTextOrList,  // a list in YAML is joined by commas
  kPatterns,    // likewise; or a mapping of texts to numbers in YAML, which stays one
  kTextOrFlag,  // true and false in YAML are texts
  kTexts,       // given several times, or as a list in YAML
  kNumbers,     // separated by commas, or as a list in YAML
  kIntegerOrAuto,
};

// One option of one or more subcommands. Flags, YAML keys, --help and the suggestions for unknown
// names all come from these.
struct OptionSpec {
  uint32_t commands;         // Command bits
  std::string_view group;    // heading in --help
  std::string_view key;      // as TRL and PEFT call it; with dashes, the flag
  std::string_view aliases;  // further names, separated by spaces
  OptionType type;
  // What --help calls the value. "a|b" lists the only ones allowed, "a|b[:N]" each of them with an
  // index behind it, if wanted.
  std::string_view value;
  std::string_view fallback;  // the value when not given; empty: none
  std::string_view help;
  Range range = {};  // of numbers
  bool positional = false;
};

// The whole table, in the order of --help.
std::span<const OptionSpec> AllOptions();
std::vector<const OptionSpec*> OptionsOf(Command command);

// The key and its aliases.
std::vector<std::string> NamesOf(const OptionSpec& spec);

// "lora_r" -> "lora-r" and back.
std::string Dashed(std::string_view name);
std::string Underscored(std::string_view name);

// A value from the command line or a YAML file as the option's type and within its range. Throws
// UsageError: "`where`: expected an integer of at least 1, got 0".
Json ValueFromText(const OptionSpec& spec, const std::string& text, std::string_view where);
Json ValueFromYaml(const OptionSpec& spec, const Json& value, std::string_view where);

// The options of one run of a subcommand: what the user gave, else the fallback of the table.
class Values {
 public:
  explicit Values(Command command) : command_(command) {}

  Command command() const { return command_; }
  void Set(const OptionSpec& spec, Json value) { given_[std::string(spec.key)] = std::move(value); }
  void SetText(std::string_view key, const std::string& text) {
    given_[std::string(Spec(key).key)] = text;
  }
  // Whether the user gave it.
  bool Has(std::string_view key) const;

  // Whether an option of kIntegerOrAuto is "auto".
  bool IsAuto(std::string_view key) const;
  bool Flag(std::string_view key) const;
  int64_t Integer(std::string_view key) const;
  double Number(std::string_view key) const;
  std::string Text(std::string_view key) const;  // empty when there is none
  std::vector<std::string> Texts(std::string_view key) const;
  std::vector<double> Numbers(std::string_view key) const;
  Json Patterns(std::string_view key) const;  // a text, or an object of numbers
  // Throw UsageError when there is none or it is empty.
  std::string NeedText(std::string_view key) const;
  std::vector<std::string> NeedTexts(std::string_view key) const;

 private:
  const OptionSpec& Spec(std::string_view key) const;
  Json Get(std::string_view key) const;
  [[noreturn]] void Miss(std::string_view key) const;

  Command command_;
  std::map<std::string, Json, std::less<>> given_;
};

}  // namespace sophia::cli
