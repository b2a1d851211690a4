#include "sophia/lora/module_scale.h"

#include <algorithm>
#include <cmath>

namespace sophia::lora {
namespace {

// peft.utils.other.get_pattern_key: re.match(rf"(.*\.)?({key})$", module).
io::tok::PythonRegex EndOfPath(const std::string& pattern, std::string_view where) {
  return {"(.*\\.)?(" + pattern + ")", where};
}

template <typename Patterns, typename T>
T FirstMatch(const Patterns& patterns, const std::string& module, T fallback) {
  const auto found = std::ranges::find_if(
      patterns, [&](const auto& pattern) { return pattern.regex.FullMatch(module); });
  return found == patterns.end() ? fallback : found->value;
}

}  // namespace

ModuleScales::ModuleScales(const LoraConfig& config) : config_(config) {
  for (const auto& [text, rank] : config.rank_pattern) {
    ranks_.push_back({text, EndOfPath(text, "rank_pattern"), rank});
  }
  for (const auto& [text, alpha] : config.alpha_pattern) {
    alphas_.push_back({text, EndOfPath(text, "alpha_pattern"), alpha});
  }
}

ModuleScale ModuleScales::Of(const std::string& module) const {
  LoraConfig own{.rank = FirstMatch(ranks_, module, config_.rank),
                 .alpha = FirstMatch(alphas_, module, config_.alpha),
                 .rs_lora = config_.rs_lora};
  return {.rank = own.rank, .scale = own.scale()};
}

std::string ModuleScales::Unused(const std::vector<std::string>& modules) const {
  const auto unused = [&](const auto& patterns) -> std::string {
    for (const auto& pattern : patterns) {
      const bool matches = std::ranges::any_of(
          modules, [&](const std::string& module) { return pattern.regex.FullMatch(module); });
      if (!matches) return pattern.text;
    }
    return "";
  };
  std::string text = unused(ranks_);
  return text.empty() ? unused(alphas_) : text;
}

}  // namespace sophia::lora
