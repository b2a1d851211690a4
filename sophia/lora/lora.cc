#include "sophia/lora/lora.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/nn/layers.h"
#include "sophia/nn/module_path.h"

namespace sophia::lora {
namespace {

constexpr std::string_view kAllLinear = "all-linear";

class LoraBranch : public nn::LinearExtension {
 public:
  // `layers`: those that have the branch; empty for all.
  LoraBranch(const nn::ParamScope& scope, int64_t in, int64_t out, const LoraConfig& config,
             const std::vector<int64_t>& layers)
      : table_(scope.table()),
        policy_(scope.policy()),
        a_((scope / "lora_A")
               .Declare("weight", {config.rank, in},
                        {.trainable = true,
                         .init = nn::ParamInit::kKaimingUniform,
                         .present_layers = layers})),
        b_((scope / "lora_B")
               .Declare(
                   "weight", {out, config.rank},
                   {.trainable = true, .init = nn::ParamInit::kZeros, .present_layers = layers})),
        scale_(config.scale()),
        dropout_(config.dropout) {}

  Tensor Apply(const Tensor& x, const Tensor& y) const override {
    const Tensor wide =
        nn::Dropout(table_, Convert(x, DType::kF32), dropout_, a_.index(), policy_.kernels());
    const Tensor low = CheckpointName(MatMul(wide, a_.value(), {.transposed = true}), kSavedBranch);
    const Tensor branch = MatMul(Scaled(low), b_.value(), {.transposed = true});
    return Convert(Convert(y, DType::kF32) + branch, y.dtype());
  }

 private:
  // Times the scale, or zero in layers without the branch. Scaling the low-rank side is the
  // cheapest.
  Tensor Scaled(const Tensor& low) const {
    const nn::ParamSpec& spec = a_.spec();
    if (spec.present_layers.empty()) return low * scale_;
    std::vector<float> scales(static_cast<size_t>(spec.layers), 0.0f);
    for (const int64_t layer : spec.present_layers) {
      scales[static_cast<size_t>(layer)] = static_cast<float>(scale_);
    }
    return low * Take(ConstantF32({spec.layers}, scales), table_.layer(), 0);
  }

  const nn::ParamTable& table_;
  const nn::ParamPolicy& policy_;
  nn::Param a_;
  nn::Param b_;
  double scale_;
  double dropout_;
};

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

double LoraConfig::scale() const {
  const auto r = static_cast<double>(rank);
  return rs_lora ? alpha / std::sqrt(r) : alpha / r;
}

void LoraConfig::Check(std::string_view where) const {
  if (rank < 1) Fail(where, "expected a LoRA rank of at least 1, got {}", rank);
  if (!(alpha > 0)) Fail(where, "expected a LoRA alpha above 0, got {}", alpha);
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
      pattern_(PatternOf(config_.targets, "target_modules")) {}

bool LoraPolicy::Matches(const std::string& module) const {
  if (const auto* names = std::get_if<std::vector<std::string>>(&config_.targets)) {
    return std::any_of(names->begin(), names->end(),
                       [&](const std::string& name) { return nn::EndsWithModule(module, name); });
  }
  return !pattern_ || pattern_->FullMatch(module);
}

std::unique_ptr<nn::LinearExtension> LoraPolicy::ExtendLinear(const nn::ParamScope& scope,
                                                              int64_t in, int64_t out) const {
  const int64_t count = std::max<int64_t>(scope.layers(), 1);
  std::vector<int64_t> layers;
  for (int64_t layer = 0; layer < count; ++layer) {
    const std::string module = ReplaceAll(scope.path(), "{}", std::to_string(layer));
    const bool matches = Matches(module);
    if (matches) layers.push_back(layer);
    modules_.push_back({module, matches});
  }
  if (layers.empty()) return nullptr;
  if (static_cast<int64_t>(layers.size()) == count) layers.clear();
  return std::make_unique<LoraBranch>(scope, in, out, config_, layers);
}

void LoraPolicy::CheckTargets() const {
  std::set<std::string> last_names;
  bool any = false;
  for (const Module& module : modules_) {
    last_names.insert(module.path.substr(module.path.rfind('.') + 1));
    any = any || module.adapted;
  }
  const std::vector<std::string> available(last_names.begin(), last_names.end());
  if (const auto* pattern = std::get_if<std::string>(&config_.targets);
      pattern != nullptr && !any) {
    Fail("target_modules", "expected '{}' to match a linear layer ({}), got no match", *pattern,
         Join(available, ", "));
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
