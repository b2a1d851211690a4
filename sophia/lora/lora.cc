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
#include "sophia/lora/module_scale.h"
#include "sophia/nn/layers.h"
#include "sophia/nn/module_path.h"

namespace sophia::lora {
namespace {

constexpr std::string_view kAllLinear = "all-linear";

// The adapters that one linear layer has in a stack of layers.
struct BranchLayers {
  std::vector<int64_t> present;     // empty: all
  std::vector<ModuleScale> scales;  // of every layer, those without an adapter too

  // Layers without an adapter get the shape of one that has it, as nothing depends on theirs.
  void FillAbsent() {
    for (size_t layer = 0; layer < scales.size(); ++layer) {
      if (std::ranges::find(present, static_cast<int64_t>(layer)) != present.end()) continue;
      scales[layer] = scales[static_cast<size_t>(present[0])];
    }
  }
  int64_t rank() const {
    int64_t most = 0;
    for (const ModuleScale& one : scales) most = std::max(most, one.rank);
    return most;
  }
  bool has_one_rank() const {
    return std::ranges::all_of(scales,
                               [&](const ModuleScale& one) { return one.rank == scales[0].rank; });
  }
  bool is_uniform() const {
    return present.empty() &&
           std::ranges::all_of(scales, [&](const ModuleScale& one) { return one == scales[0]; });
  }
  // The factors' sizes by layer, where they differ.
  std::vector<Dims> DimsByLayer(const std::function<Dims(int64_t rank)>& of_rank) const {
    std::vector<Dims> dims;
    if (has_one_rank()) return dims;
    for (const ModuleScale& one : scales) dims.push_back(of_rank(one.rank));
    return dims;
  }
};

class LoraBranch : public nn::LinearExtension {
 public:
  LoraBranch(const nn::ParamScope& scope, int64_t in, int64_t out, double dropout,
             BranchLayers layers)
      : table_(scope.table()),
        policy_(scope.policy()),
        a_((scope / "lora_A")
               .Declare("weight", {layers.rank(), in},
                        {.trainable = true,
                         .init = nn::ParamInit::kKaimingUniform,
                         .present_layers = layers.present,
                         .layer_dims = layers.DimsByLayer([&](int64_t r) {
                           return Dims{r, in};
                         })})),
        b_((scope / "lora_B")
               .Declare("weight", {out, layers.rank()},
                        {.trainable = true,
                         .init = nn::ParamInit::kZeros,
                         .present_layers = layers.present,
                         .layer_dims = layers.DimsByLayer([&](int64_t r) {
                           return Dims{out, r};
                         })})),
        layers_(std::move(layers)),
        dropout_(dropout) {}

  Tensor Apply(const Tensor& x, const Tensor& y) const override {
    const Tensor wide =
        nn::Dropout(table_, Convert(x, DType::kF32), dropout_, a_.index(), policy_.kernels());
    const Tensor low = CheckpointName(MatMul(wide, a_.value(), {.transposed = true}), kSavedBranch);
    const Tensor branch = MatMul(Scaled(low), b_.value(), {.transposed = true});
    return Convert(Convert(y, DType::kF32) + branch, y.dtype());
  }

 private:
  // Times the layer's scale, or zero where it has no branch and in columns beyond its rank. Scaling
  // the low-rank side is the cheapest.
  Tensor Scaled(const Tensor& low) const {
    if (layers_.is_uniform()) return low * layers_.scales[0].scale;
    const int64_t columns = layers_.has_one_rank() ? 1 : layers_.rank();
    const auto count = static_cast<int64_t>(layers_.scales.size());
    std::vector<float> scales(static_cast<size_t>(count * columns), 0.0f);
    for (const int64_t layer : a_.spec().PresentLayers()) {
      const ModuleScale& own = layers_.scales[static_cast<size_t>(layer)];
      std::fill_n(scales.begin() + layer * columns, std::min(columns, own.rank),
                  static_cast<float>(own.scale));
    }
    return low * Take(ConstantF32({count, columns}, scales), table_.layer(), 0);
  }

  const nn::ParamTable& table_;
  const nn::ParamPolicy& policy_;
  nn::Param a_;
  nn::Param b_;
  BranchLayers layers_;
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

std::unique_ptr<nn::LinearExtension> LoraPolicy::ExtendLinear(const nn::ParamScope& scope,
                                                              int64_t in, int64_t out) const {
  const int64_t count = std::max<int64_t>(scope.layers(), 1);
  BranchLayers layers;
  for (int64_t layer = 0; layer < count; ++layer) {
    const std::string module = ReplaceAll(scope.path(), "{}", std::to_string(layer));
    const bool matches = Matches(module);
    if (matches) layers.present.push_back(layer);
    modules_.push_back({module, matches});
    layers.scales.push_back(scales_->Of(module));
  }
  if (layers.present.empty()) return nullptr;
  layers.FillAbsent();
  if (static_cast<int64_t>(layers.present.size()) == count) layers.present.clear();
  return std::make_unique<LoraBranch>(scope, in, out, config_.dropout, std::move(layers));
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
