#include "sophia/cli/options.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"

namespace sophia::cli {
namespace {

constexpr std::string_view kAuto = "auto";

std::string Expected(const OptionSpec& spec) {
  switch (spec.type) {
    case OptionType::kFlag:
      return "true or false";
    case OptionType::kInteger:
      return "an integer " + spec.range.ToString();
    case OptionType::kNumber:
      return "a number " + spec.range.ToString();
    case OptionType::kText:
      return "a text";
    case OptionType::kTextOrList:
      return "a text or a list of texts";
    case OptionType::kPatterns:
      return "a text, a list of texts or a mapping of names to numbers";
    case OptionType::kTextOrFlag:
      return "a text, true or false";
    case OptionType::kTexts:
      return "a text or a list of texts";
    case OptionType::kNumbers:
      return "numbers " + spec.range.ToString();
    case OptionType::kIntegerOrAuto:
      return "an integer " + spec.range.ToString() + ", or auto";
  }
  return "";
}

// JSON has no text for numbers that are not finite.
std::string AsText(const Json& value) {
  return value.is_number_float() ? fmt::format("{}", value.get<double>()) : Dump(value);
}

[[noreturn]] void Refuse(const OptionSpec& spec, std::string_view where, const Json& got) {
  throw UsageError(fmt::format("{}: expected {}, got {}", where, Expected(spec), AsText(got)));
}

Json JoinedTexts(const OptionSpec& spec, const Json& list, std::string_view where) {
  std::vector<std::string> texts;
  for (const Json& item : list) {
    if (!item.is_string()) Refuse(spec, where, list);
    texts.push_back(item.get<std::string>());
  }
  return Join(texts, ",");
}

// "1,0.5" as a list; the text itself where a part is no number.
Json NumbersFrom(const std::string& text) {
  Json numbers = Json::array();
  for (const std::string& part : Split(text, ',')) {
    const auto number = NumberFromText<double>(std::string(Trim(part)));
    if (!number) return text;
    numbers.push_back(*number);
  }
  return numbers;
}

// Programs compute with 32-bit numbers.
bool IsAllowed(const OptionSpec& spec, const Json& number) {
  const auto value = number.get<double>();
  return std::isfinite(static_cast<float>(value)) && spec.range.Contains(value);
}

void CheckChoice(const OptionSpec& spec, const Json& value, std::string_view where) {
  if (spec.value.find('|') == std::string_view::npos) return;
  constexpr std::string_view kIndex = "[:N]";
  const bool takes_index = spec.value.ends_with(kIndex);
  const std::vector<std::string> choices =
      Split(spec.value.substr(0, spec.value.size() - (takes_index ? kIndex.size() : 0)), '|');
  const auto text = value.get<std::string>();
  const size_t end = takes_index ? text.find(':') : std::string::npos;
  const std::string choice = text.substr(0, end);
  if (std::ranges::find(choices, choice) == choices.end()) {
    throw UsageError(fmt::format("{}: expected one of {}, got '{}'{}", where, Join(choices, ", "),
                                 text, DidYouMean(choice, choices)));
  }
  if (end == std::string::npos) return;
  const auto index = NumberFromText<int64_t>(text.substr(end + 1));
  if (!index || *index < 0) {
    throw UsageError(fmt::format("{}: expected an index of at least 0 after '{}:', got '{}'", where,
                                 choice, text));
  }
}

bool IsOf(OptionType type, const Json& value) {
  switch (type) {
    case OptionType::kFlag:
      return value.is_boolean();
    case OptionType::kInteger:
      return value.is_number_integer();
    case OptionType::kNumber:
      return value.is_number();
    case OptionType::kText:
    case OptionType::kTextOrList:
    case OptionType::kTextOrFlag:
      return value.is_string();
    case OptionType::kPatterns:
      return value.is_string() ||
             (value.is_object() && std::ranges::all_of(value, &Json::is_number));
    case OptionType::kNumbers:
      return value.is_array() && std::ranges::all_of(value, &Json::is_number);
    case OptionType::kTexts:
      return value.is_array() && std::ranges::all_of(value, [](const Json& item) {
               return item.is_string() && !item.get<std::string>().empty();
             });
    case OptionType::kIntegerOrAuto:
      return value.is_number_integer() || value == kAuto;
  }
  return false;
}

}  // namespace

std::vector<const OptionSpec*> OptionsOf(Command command) {
  std::vector<const OptionSpec*> result;
  for (const OptionSpec& spec : AllOptions()) {
    if ((spec.commands & command) != 0) result.push_back(&spec);
  }
  return result;
}

std::vector<std::string> NamesOf(const OptionSpec& spec) {
  std::vector<std::string> names = {std::string(spec.key)};
  if (spec.aliases.empty()) return names;
  for (std::string& alias : Split(spec.aliases, ' ')) names.push_back(std::move(alias));
  return names;
}

std::string Dashed(std::string_view name) {
  std::string text(name);
  std::ranges::replace(text, '_', '-');
  return text;
}

std::string Underscored(std::string_view name) {
  std::string text(name);
  std::ranges::replace(text, '-', '_');
  return text;
}

Json ValueFromText(const OptionSpec& spec, const std::string& text, std::string_view where) {
  Json value = text;
  if (spec.type == OptionType::kFlag) {
    if (text == "true" || text == "false") value = text == "true";
  } else if (spec.type == OptionType::kInteger || spec.type == OptionType::kIntegerOrAuto) {
    if (const auto integer = NumberFromText<int64_t>(text)) value = *integer;
  } else if (spec.type == OptionType::kNumber) {
    if (const auto number = NumberFromText<double>(text)) value = *number;
  }
  if (spec.type == OptionType::kNumbers) value = NumbersFrom(text);
  return ValueFromYaml(spec, value, where);
}

Json ValueFromYaml(const OptionSpec& spec, const Json& value, std::string_view where) {
  const bool joins = spec.type == OptionType::kTextOrList || spec.type == OptionType::kPatterns;
  if (joins && value.is_array()) return JoinedTexts(spec, value, where);
  if (spec.type == OptionType::kTextOrFlag && value.is_boolean()) return Dump(value);
  const bool is_one_of_list = (spec.type == OptionType::kTexts && value.is_string()) ||
                              (spec.type == OptionType::kNumbers && value.is_number());
  if (is_one_of_list) return ValueFromYaml(spec, Json::array({value}), where);
  if (!IsOf(spec.type, value)) Refuse(spec, where, value);
  const bool is_list = spec.type == OptionType::kNumbers;
  for (const Json& number : is_list ? value : Json::array({value})) {
    if (number.is_number() && !IsAllowed(spec, number)) Refuse(spec, where, value);
  }
  if (value.is_string()) CheckChoice(spec, value, where);
  return value;
}

const OptionSpec& Values::Spec(std::string_view key) const {
  for (const OptionSpec& spec : AllOptions()) {
    if (spec.key == key && (spec.commands & command_) != 0) return spec;
  }
  SOPHIA_CHECK(false, "no option {}", key);
}

Json Values::Get(std::string_view key) const {
  const OptionSpec& spec = Spec(key);
  const auto it = given_.find(key);
  if (it != given_.end()) return it->second;
  const bool is_list = spec.type == OptionType::kTexts || spec.type == OptionType::kNumbers;
  if (is_list) return Json::array();
  return ValueFromText(spec, std::string(spec.fallback), key);
}

bool Values::Has(std::string_view key) const {
  Spec(key);
  return given_.contains(key);
}

bool Values::IsAuto(std::string_view key) const { return Get(key) == kAuto; }
bool Values::Flag(std::string_view key) const { return Get(key).get<bool>(); }
int64_t Values::Integer(std::string_view key) const { return Get(key).get<int64_t>(); }
double Values::Number(std::string_view key) const { return Get(key).get<double>(); }
std::string Values::Text(std::string_view key) const { return Get(key).get<std::string>(); }

std::string Values::NeedText(std::string_view key) const {
  std::string text = Text(key);
  if (text.empty()) Miss(key);
  return text;
}

std::vector<std::string> Values::Texts(std::string_view key) const {
  return Get(key).get<std::vector<std::string>>();
}

std::vector<double> Values::Numbers(std::string_view key) const {
  return Get(key).get<std::vector<double>>();
}

Json Values::Patterns(std::string_view key) const { return Get(key); }

std::vector<std::string> Values::NeedTexts(std::string_view key) const {
  std::vector<std::string> texts = Texts(key);
  if (texts.empty()) Miss(key);
  return texts;
}

void Values::Miss(std::string_view key) const {
  const OptionSpec& spec = Spec(key);
  if (spec.positional) throw UsageError(fmt::format("expected {}, got nothing", spec.value));
  const std::string name = std::ranges::min(NamesOf(spec), {}, &std::string::size);
  throw UsageError(fmt::format("expected --{} {}, got nothing", Dashed(name), spec.value));
}

}  // namespace sophia::cli
