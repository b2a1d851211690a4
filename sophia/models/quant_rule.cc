#include "sophia/models/quant_rule.h"

#include <algorithm>
#include <set>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/nn/module_path.h"

namespace sophia::models {
namespace {

constexpr std::string_view kNone = "none";
constexpr std::string_view kAuto = "auto";
constexpr std::string_view kTableFormat = "int8";

void CheckFormat(const std::string& name, bool may_be_auto) {
  const quant::PackedFormat* format = quant::FindPackedFormat(name);
  if (name == kNone || (may_be_auto && name == kAuto) ||
      (format != nullptr && format->is_quantised)) {
    return;
  }
  std::vector<std::string> known = {std::string(kNone)};
  if (may_be_auto) known.emplace(known.begin(), kAuto);
  for (const quant::PackedFormat& one : quant::PackedFormats()) {
    if (one.is_quantised) known.emplace_back(one.name);
  }
  Fail("quant", "expected one of {}, got '{}'{}", Join(known, ", "), name, DidYouMean(name, known));
}

// model.layers.{}.mlp.down_proj.weight -> model.layers.{}.mlp.down_proj
std::string ModuleOf(const nn::ParamSpec& spec) {
  return spec.path.substr(0, spec.path.rfind('.'));
}

}  // namespace

struct QuantRule::State {
  const ModelFiles& files;
  QuantChoice choice;
  std::set<std::string> met = {};  // modules that were asked about

  // The format of the longest name that the module ends with.
  const std::string* Named(const std::string& module) const {
    const std::pair<const std::string, std::string>* best = nullptr;
    for (const auto& one : choice.named) {
      const bool is_longer = best == nullptr || one.first.size() > best->first.size();
      if (is_longer && nn::EndsWithModule(module, one.first)) best = &one;
    }
    return best == nullptr ? nullptr : &best->second;
  }

  const quant::PackedFormat* FormatOf(const nn::ParamSpec& spec) {
    const std::string module = ModuleOf(spec);
    met.insert(module);
    const std::string* own = Named(module);
    if (own == nullptr && spec.is_table) return nullptr;
    const std::string& name = own != nullptr ? *own : choice.others;
    if (name == kNone) return nullptr;
    if (name == kAuto) return files.StoredFormat(spec);
    if (spec.is_table && name != kTableFormat) {
      Fail("quant", "expected {} or {} for '{}', got '{}'", kNone, kTableFormat, module, name);
    }
    const quant::PackedFormat* format = quant::FindPackedFormat(name);
    quant::CheckCanPack(*format, spec.dims, spec.path);
    return format;
  }
};

QuantChoice QuantChoice::FromText(const std::string& text) {
  const std::vector<std::string> parts = Split(text, ',');
  QuantChoice choice{.others = std::string(Trim(parts[0]))};
  CheckFormat(choice.others, true);
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::vector<std::string> sides = Split(parts[i], '=');
    if (sides.size() != 2 || Trim(sides[0]).empty()) {
      Fail("quant", "expected FORMAT and ,NAME=FORMAT for each module of another, got '{}'", text);
    }
    const std::string format(Trim(sides[1]));
    CheckFormat(format, false);
    if (!choice.named.emplace(Trim(sides[0]), format).second) {
      Fail("quant", "expected each module once, got '{}' again", Trim(sides[0]));
    }
  }
  return choice;
}

QuantRule::QuantRule(const ModelFiles& files, QuantChoice choice)
    : state_(std::make_shared<State>(State{.files = files, .choice = std::move(choice)})) {}

nn::PackingRule QuantRule::Function() const {
  return [state = state_](const nn::ParamSpec& spec) { return state->FormatOf(spec); };
}

void QuantRule::CheckNames(const std::vector<nn::ParamSpec>& specs) const {
  std::set<std::string> last_names;
  for (const std::string& module : state_->met) {
    last_names.insert(module.substr(module.rfind('.') + 1));
  }
  const std::vector<std::string> known(last_names.begin(), last_names.end());
  for (const auto& one : state_->choice.named) {
    const std::string& name = one.first;
    const bool used = std::ranges::any_of(
        state_->met, [&](const std::string& module) { return nn::EndsWithModule(module, name); });
    if (used) continue;
    const bool is_trained = std::ranges::any_of(specs, [&](const nn::ParamSpec& spec) {
      return spec.trainable && nn::EndsWithModule(ModuleOf(spec), name);
    });
    if (is_trained) Fail("quant", "expected frozen modules, got '{}', which is trained", name);
    Fail("quant", "expected names among {}, got '{}'{}", Join(known, ", "), name,
         DidYouMean(name, known));
  }
}

std::unique_ptr<ModelPlan> BuildPlan(const ModelFiles& files,
                                     std::unique_ptr<nn::ParamPolicy> policy,
                                     const std::string& quant) {
  const QuantRule rule(files, QuantChoice::FromText(quant));
  policy->set_packing(rule.Function());
  auto plan = std::make_unique<ModelPlan>(files.config(), files.config_name(), std::move(policy));
  rule.CheckNames(plan->specs());
  return plan;
}

}  // namespace sophia::models
