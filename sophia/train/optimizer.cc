#include "sophia/train/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"

namespace sophia::train {
namespace {

constexpr std::string_view kWhere = "optim_args";

constexpr auto kAdafactorArguments =
    std::to_array<OptimizerArgument>({{"clip_threshold", 1}, {"decay_rate", -0.8}});
constexpr auto kMuonArguments =
    std::to_array<OptimizerArgument>({{"momentum", 0.95}, {"ns_steps", 5}, {"consistent_rms", 0}});
constexpr auto kSophiaGArguments =
    std::to_array<OptimizerArgument>({{"gamma", 0.05}, {"update_interval", 10}});
constexpr auto kSophiaHArguments =
    std::to_array<OptimizerArgument>({{"gamma", 0.01}, {"update_interval", 10}});

constexpr optim::AdamOptions kLionDefaults = {.b1 = 0.9, .b2 = 0.99, .eps = 0};
constexpr optim::AdamOptions kSophiaDefaults = {.b1 = 0.96, .b2 = 0.99, .eps = 1e-12};

// By kind.
constexpr auto kOptimizers = std::to_array<OptimizerInfo>({
    {"adamw_torch"},
    {"adamw_8bit"},
    {"adamw_bf16"},
    {"sgd"},
    {"adafactor", {}, kAdafactorArguments},
    {"lion", kLionDefaults},
    {"muon", {}, kMuonArguments},
    {"sophiag", kSophiaDefaults, kSophiaGArguments},
    {"sophiah", kSophiaDefaults, kSophiaHArguments},
});

int64_t Whole(std::string_view name, double value) {
  if (value != std::floor(value) || !(value >= 1 && value <= 1e6)) {
    Fail(kWhere, "expected {} as an integer of at least 1, got {}", name, value);
  }
  return static_cast<int64_t>(value);
}

}  // namespace

const OptimizerInfo& Info(OptimizerKind kind) { return kOptimizers[static_cast<size_t>(kind)]; }

OptimizerKind OptimizerFromName(std::string_view name) {
  if (name == "adamw_bnb_8bit") return OptimizerKind::kAdamW8Bit;
  if (name == "sophia") return OptimizerKind::kSophiaG;
  const auto* found = std::ranges::find(kOptimizers, name, &OptimizerInfo::name);
  if (found == kOptimizers.end()) Fail("optim", "expected a known optimiser, got '{}'", name);
  return static_cast<OptimizerKind>(found - kOptimizers.begin());
}

OptimizerArguments ParseOptimizerArguments(OptimizerKind kind, std::string_view text) {
  const OptimizerInfo& info = Info(kind);
  std::vector<std::string> names;
  for (const OptimizerArgument& argument : info.arguments) names.emplace_back(argument.name);
  OptimizerArguments arguments;
  for (const std::string& item : Split(std::string(text), ',')) {
    if (Trim(item).empty()) continue;
    const size_t equals = item.find('=');
    const std::string name(Trim(item.substr(0, equals)));
    if (std::ranges::find(names, name) == names.end()) {
      Fail(kWhere, "expected arguments of {} ({}), got '{}'{}", info.name,
           names.empty() ? "it has none" : Join(names, ", "), name, DidYouMean(name, names));
    }
    const std::string number(equals == std::string::npos ? "" : Trim(item.substr(equals + 1)));
    const auto value = NumberFromText<double>(number);
    if (!value || !std::isfinite(*value)) {
      Fail(kWhere, "expected {}=NUMBER, got '{}'", name, Trim(item));
    }
    arguments[name] = *value;
  }
  return arguments;
}

std::string ToText(OptimizerKind kind, const OptimizerArguments& arguments) {
  std::vector<std::string> texts;
  for (const OptimizerArgument& argument : Info(kind).arguments) {
    const auto found = arguments.find(argument.name);
    texts.push_back(fmt::format("{}={}", argument.name,
                                found == arguments.end() ? argument.value : found->second));
  }
  return Join(texts, ",");
}

optim::Transform MakeOptimizer(const OptimizerChoice& choice, const optim::UpdateOptions& update,
                               const kernels::KernelTarget& target) {
  const OptimizerInfo& info = Info(choice.kind);
  const auto argument = [&](std::string_view name) {
    if (const auto it = choice.arguments.find(name); it != choice.arguments.end())
      return it->second;
    const auto found = std::ranges::find(info.arguments, name, &OptimizerArgument::name);
    SOPHIA_CHECK(found != info.arguments.end(), "{} has no {}", info.name, name);
    return found->value;
  };
  const auto adamw = [&](optim::MomentStorage moments) {
    return optim::AdamW(
        {.update = update, .adam = choice.adam, .moments = moments, .target = target});
  };
  const auto sophia = [&](optim::Curvature estimator) {
    return optim::Sophia(
        {.update = update,
         .estimator = estimator,
         .b1 = choice.adam.b1,
         .b2 = choice.adam.b2,
         .eps = choice.adam.eps,
         .gamma = argument("gamma"),
         .update_interval = Whole("update_interval", argument("update_interval"))});
  };
  switch (choice.kind) {
    case OptimizerKind::kAdamW:
      return adamw(optim::MomentStorage::kF32);
    case OptimizerKind::kAdamW8Bit:
      return adamw(optim::MomentStorage::k8Bit);
    case OptimizerKind::kAdamWBF16:
      return adamw(optim::MomentStorage::kBF16Mean);
    case OptimizerKind::kSgd:
      return optim::Sgd(update);
    case OptimizerKind::kAdafactor:
      return optim::Adafactor({.update = update,
                               .clip_threshold = argument("clip_threshold"),
                               .decay_rate = argument("decay_rate")});
    case OptimizerKind::kLion:
      return optim::Lion({.update = update, .b1 = choice.adam.b1, .b2 = choice.adam.b2});
    case OptimizerKind::kMuon:
      return optim::Muon({.update = update,
                          .momentum = argument("momentum"),
                          .ns_steps = Whole("ns_steps", argument("ns_steps")),
                          .consistent_rms = argument("consistent_rms"),
                          .adam = choice.adam});
    case OptimizerKind::kSophiaG:
      return sophia(optim::Curvature::kGaussNewtonBartlett);
    case OptimizerKind::kSophiaH:
      return sophia(optim::Curvature::kHutchinson);
  }
  SOPHIA_CHECK(false);
}

}  // namespace sophia::train
