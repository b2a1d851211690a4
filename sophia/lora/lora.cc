#include "sophia/lora/lora.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/lora/branch.h"
#include "sophia/lora/module_scale.h"
#include "sophia/nn/module_path.h"

namespace sophia::lora {
namespace {

constexpr std::string_view kAllLinear = "all-linear";

std::optional<io::tok::PythonRegex> PatternOf(const Targets& targets, std::string_view where) {
  const auto* pattern = std::get_if<std::string>(&targets);
  if (pattern == nullptr || *pattern == kAllLinear) return std::nullopt;
  return io::tok::PythonRegex(*pattern, where);
}

}  // namespace

std::string TargetsText(const Targets& targets) {
  const auto* names = std::get_if<std::vector<std::string>>(&targets);
  return names != nullptr ? Join(*names, ", ") : std::get<std::string>(targets);
}

std::string LoraConfig::InitName() const {
  if (init == LoraInit::kDefault) return "true";
  return pissa_iterations == 0 ? "pissa" : fmt::format("pissa_niter_{}", pissa_iterations);
}

void LoraConfig::SetInit(std::string_view name) {
  constexpr std::string_view kIterations = "pissa_niter_";
  init = name == "true" ? LoraInit::kDefault : LoraInit::kPissa;
  pissa_iterations = 0;
  if (name == "true" || name == "pissa") return;
  std::optional<int64_t> iterations;
  if (name.starts_with(kIterations))
    iterations = NumberFromText<int64_t>(name.substr(kIterations.size()));
  if (!iterations || *iterations < 1 || *iterations > 1000) {
    Fail("init_lora_weights",
         "expected true, pissa or pissa_niter_N with N from 1 to 1000, got '{}'{}", name,
         DidYouMean(std::string(name), {"true", "pissa", "pissa_niter_16"}));
  }
  pissa_iterations = *iterations;
}

double LoraConfig::scale() const {
  const auto r = static_cast<double>(rank);
  return rs_lora ? alpha / std::sqrt(r) : alpha / r;
}

void LoraConfig::Check(std::string_view where) const {
  if (rank < 1) Fail(where, "expected a LoRA rank of at least 1, got {}", rank);
  if (!(alpha > 0)) Fail(where, "expected a LoRA alpha above 0, got {}", alpha);
  if (init == LoraInit::kPissa && use_dora) {
    Fail(where, "expected PiSSA or DoRA, got both");
  }
  if (init == LoraInit::kPissa && !modules_to_save.empty()) {
    Fail(where, "expected PiSSA or modules_to_save, got both");
  }
  if (std::ranges::any_of(modules_to_save, &std::string::empty)) {
    Fail(where, "expected names of modules_to_save, got ''");
  }
  for (const auto& [pattern, own] : rank_pattern) {
    if (own < 1) Fail(where, "expected a LoRA rank of at least 1 for '{}', got {}", pattern, own);
  }
  for (const auto& [pattern, own] : alpha_pattern) {
    if (!(own > 0)) Fail(where, "expected a LoRA alpha above 0 for '{}', got {}", pattern, own);
  }
  const ModuleScales scales(*this);
  if (!(dropout >= 0 && dropout < 1)) {
    Fail(where, "expected a LoRA dropout from 0 to below 1, got {}", dropout);
  }
  if (const auto* names = std::get_if<std::vector<std::string>>(&targets)) {
    if (names->empty()) Fail(where, "expected at least one target module, got none");
    return;
  }
  PatternOf(targets, fmt::format("{}: target_modules", where));
}

LoraPolicy::LoraPolicy(DType dtype, LoraConfig config)
    : ParamPolicy(dtype),
      config_(std::move(config)),
      pattern_(PatternOf(config_.targets, "target_modules")),
      scales_(std::make_unique<ModuleScales>(config_)) {}

LoraPolicy::~LoraPolicy() = default;

bool LoraPolicy::Matches(const std::string& module) const {
  if (const auto* names = std::get_if<std::vector<std::string>>(&config_.targets)) {
    return std::any_of(names->begin(), names->end(),
                       [&](const std::string& name) { return nn::EndsWithModule(module, name); });
  }
  return !pattern_ || pattern_->FullMatch(module);
}

// As PEFT, which takes any end of a path, not whole names only.
bool LoraPolicy::Trains(std::string_view module) const {
  asked_.emplace(module);
  return std::ranges::any_of(config_.modules_to_save,
                             [&](const std::string& name) { return module.ends_with(name); });
}

std::unique_ptr<nn::LinearExtension> LoraPolicy::ExtendLinear(const nn::ParamScope& scope,
                                                              int64_t in, int64_t out) const {
  const int64_t count = std::max<int64_t>(scope.layers(), 1);
  BranchLayers layers;
  for (int64_t layer = 0; layer < count; ++layer) {
    const std::string module = ReplaceAll(scope.path(), "{}", std::to_string(layer));
    const bool matches = Matches(module) && !Trains(scope.path());
    if (matches) layers.present.push_back(layer);
    modules_.push_back({module, matches});
    layers.scales.push_back(scales_->Of(module));
  }
  if (layers.present.empty()) return nullptr;
  layers.FillAbsent();
  if (static_cast<int64_t>(layers.present.size()) == count) layers.present.clear();
  return MakeBranch(scope, in, out, config_, std::move(layers));
}

void LoraPolicy::CheckPatterns() const {
  std::vector<std::string> adapted;
  for (const Module& module : modules_) {
    if (module.adapted) adapted.push_back(module.path);
  }
  const std::string unused = scales_->Unused(adapted);
  if (!unused.empty()) {
    Fail("lora", "expected '{}' to match the end of a target module's path, as {}, got no match",
         unused, adapted.front());
  }
}

void LoraPolicy::CheckTargets() const {
  std::set<std::string> last_names;
  bool any = false;
  for (const Module& module : modules_) {
    last_names.insert(module.path.substr(module.path.rfind('.') + 1));
    any = any || module.adapted;
  }
  const std::vector<std::string> available(last_names.begin(), last_names.end());
  if (!any && !config_.modules_to_save.empty() &&
      std::ranges::any_of(modules_, [&](const Module& one) { return Matches(one.path); })) {
    Fail("modules_to_save",
         "expected a target module that is not trained as a whole, got none left of {}",
         TargetsText(config_.targets));
  }
  if (const auto* pattern = std::get_if<std::string>(&config_.targets);
      pattern != nullptr && !any) {
    Fail("target_modules", "expected '{}' to match a linear layer ({}), got no match", *pattern,
         Join(available, ", "));
  }
  std::set<std::string> with_parameters;
  for (const std::string& path : asked_) with_parameters.insert(path.substr(path.rfind('.') + 1));
  for (const std::string& name : config_.modules_to_save) {
    if (std::ranges::any_of(asked_, [&](const auto& path) { return path.ends_with(name); }))
      continue;
    const std::vector<std::string> known(with_parameters.begin(), with_parameters.end());
    Fail("modules_to_save",
         "expected ends of the paths of modules with parameters, which hold for all layers ({}), "
         "got '{}'{}",
         Join(known, ", "), name, DidYouMean(name, known));
  }
  const auto* names = std::get_if<std::vector<std::string>>(&config_.targets);
  if (names == nullptr) return;
  for (const std::string& name : *names) {
    const bool used = std::any_of(modules_.begin(), modules_.end(), [&](const Module& module) {
      return nn::EndsWithModule(module.path, name);
    });
    if (!used) {
      Fail("target_modules", "expected names among {}, got '{}'{}", Join(available, ", "), name,
           DidYouMean(name, available));
    }
  }
}

}  // namespace sophia::lora
