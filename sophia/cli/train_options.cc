#include "sophia/cli/train_options.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <type_traits>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/cli/engine.h"
#include "sophia/cli/project.h"
#include "sophia/lora/peft.h"

namespace sophia::cli {
namespace {

constexpr int64_t kLargestRank = 1 << 20;

// Separated by commas.
std::vector<std::string> NamesFrom(const std::string& text) {
  std::vector<std::string> names;
  for (const std::string& name : Split(text, ',')) {
    if (!Trim(name).empty()) names.emplace_back(Trim(name));
  }
  return names;
}

// Each once.
std::vector<std::string> Sorted(const std::vector<std::string>& names) {
  const std::set<std::string> set(names.begin(), names.end());
  return {set.begin(), set.end()};
}

// PEFT takes a list of names or one regular expression; names have none of its special characters
// but the dot.
lora::Targets TargetsOf(const std::string& text) {
  constexpr std::string_view kOnlyInExpressions = "\\^$*+?()[]{}|";
  if (text == "all-linear" || text.find_first_of(kOnlyInExpressions) != std::string::npos) {
    return text;
  }
  return NamesFrom(text);
}

// At commas that are outside the brackets of regular expressions.
std::vector<std::string> SplitPatterns(const std::string& text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : text) {
    if (c == '(' || c == '[' || c == '{') ++depth;
    if (c == ')' || c == ']' || c == '}') --depth;
    if (c == ',' && depth <= 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// The parts "q_proj=4" of a text or of a mapping.
std::vector<std::string> PatternParts(const Json& value) {
  if (value.is_string()) return SplitPatterns(value.get<std::string>());
  std::vector<std::string> parts;
  for (const auto& [name, number] : value.items()) {
    parts.push_back(fmt::format("{}={}", name, Dump(number)));
  }
  return parts;
}

// "q_proj=4,layers.0.*=8" or {q_proj: 4} as pairs.
template <typename T>
std::vector<std::pair<std::string, T>> PatternsFrom(const Values& values, std::string_view key) {
  std::vector<std::pair<std::string, T>> patterns;
  for (const std::string& part : PatternParts(values.Patterns(key))) {
    if (Trim(part).empty()) continue;
    const size_t equals = part.rfind('=');
    const std::string name(Trim(part.substr(0, equals)));
    const std::string number(equals == std::string::npos ? "" : Trim(part.substr(equals + 1)));
    const auto value = NumberFromText<T>(number);
    const bool is_in_range = value && *value > 0 && std::isfinite(static_cast<double>(*value)) &&
                             (std::is_floating_point_v<T> || *value <= kLargestRank);
    if (name.empty() || !is_in_range) {
      throw UsageError(
          fmt::format("--{}: expected NAME={}, got '{}'", Dashed(key),
                      std::is_floating_point_v<T> ? "a number above 0" : "an integer of at least 1",
                      Trim(part)));
    }
    patterns.emplace_back(name, *value);
  }
  return patterns;
}

// The adapter decides the LoRA options; saying something else beside it is an error.
void CheckAgainstAdapter(const Values& values, const lora::LoraConfig& adapter) {
  const auto check = [&](std::string_view key, double of_adapter) {
    if (values.Has(key) && std::abs(values.Number(key) - of_adapter) > 1e-9) {
      throw UsageError(fmt::format("--{}: expected {} as --init-adapter has it, or nothing, got {}",
                                   Dashed(key), of_adapter, values.Number(key)));
    }
  };
  check("lora_r", static_cast<double>(adapter.rank));
  check("lora_alpha", adapter.alpha);
  check("lora_dropout", adapter.dropout);
  for (const char* key : {"lora_target_modules", "use_rslora", "use_dora", "init_lora_weights",
                          "lora_rank_pattern", "lora_alpha_pattern", "lora_modules_to_save"}) {
    if (values.Has(key)) {
      throw UsageError(fmt::format("expected --{} or --init-adapter, got both", Dashed(key)));
    }
  }
}

void SetOptimizer(const Values& values, train::TrainOptions& options) {
  options.optimizer = train::OptimizerFromName(values.Text("optim"));
  const optim::AdamOptions& defaults = train::Info(options.optimizer).adam;
  const auto number = [&](std::string_view key, double fallback) {
    return values.Has(key) ? values.Number(key) : fallback;
  };
  options.adam = {.b1 = number("adam_beta1", defaults.b1),
                  .b2 = number("adam_beta2", defaults.b2),
                  .eps = number("adam_epsilon", defaults.eps)};
  try {
    options.optimizer_arguments =
        train::ParseOptimizerArguments(options.optimizer, values.Text("optim_args"));
  } catch (const Error& error) {
    throw UsageError(fmt::format("--optim-args: {}", error.message()));
  }
}

std::optional<train::IsomorphismObjective> IsomorphismFrom(const Values& values) {
  if (values.Text("objective") != "isomorphism") {
    for (const char* key :
         {"teacher", "isomorphism_weight", "language_weight", "isomorphism_tokens"}) {
      if (values.Has(key)) {
        throw UsageError(
            fmt::format("expected --objective isomorphism beside --{}, got none", Dashed(key)));
      }
    }
    return std::nullopt;
  }
  // The proof shows that a geometry is reached which the base model does not have.
  const bool is_random = values.command() == kProve && !values.Has("teacher");
  return train::IsomorphismObjective{
      .teacher = is_random ? std::string(train::kRandomTeacher) : values.NeedText("teacher"),
      .term = {.weight = values.Number("isomorphism_weight"),
               .language_weight = values.Number("language_weight"),
               .tokens = values.Integer("isomorphism_tokens")}};
}

std::optional<train::MemoryPolicy> PolicyFrom(const Values& values) {
  const bool keeps_inputs_only = values.Flag("gradient_checkpointing");
  if (keeps_inputs_only && values.Has("policy")) {
    throw UsageError("expected --policy or --gradient-checkpointing, got both");
  }
  if (!keeps_inputs_only && values.Text("policy") == train::kAutoPolicy) return std::nullopt;
  try {
    return train::MemoryPolicy::FromText(keeps_inputs_only ? "layers" : values.Text("policy"));
  } catch (const Error& error) {
    throw UsageError(fmt::format("--policy: {}", error.message()));
  }
}

// The proof takes the demo's model and rows where nothing is said.
std::filesystem::path ModelOf(const Values& values) {
  if (values.command() == kProve && !values.Has("model_name_or_path")) {
    const auto demo = FindInProject(".deps/models/SmolLM2-135M-Instruct.Q4_1.gguf");
    if (demo) return *demo;
  }
  return values.NeedText("model_name_or_path");
}

std::vector<std::filesystem::path> DataOf(const Values& values) {
  if (values.command() == kPlan && !values.Has("data")) return {};
  if (values.command() == kProve && !values.Has("data")) {
    const auto demo = FindInProject("examples/demo/train.jsonl");
    if (demo) return {*demo};
  }
  const std::vector<std::string> paths = values.NeedTexts("data");
  return {paths.begin(), paths.end()};
}

}  // namespace

train::TrainOptions TrainOptionsFrom(const Values& values) {
  train::TrainOptions options;
  options.model = ModelOf(values);
  options.data = DataOf(values);
  options.init_adapter = values.Text("init_adapter");
  if (!options.init_adapter.empty()) {
    CheckAgainstAdapter(values, lora::ReadAdapterConfig(options.init_adapter));
  }
  options.dtype = DTypeOf(values);
  options.quant = QuantOf(values);
  options.kernels = KernelsOf(values);
  options.lora = {.rank = values.Integer("lora_r"),
                  .alpha = values.Number("lora_alpha"),
                  .dropout = values.Number("lora_dropout"),
                  .targets = TargetsOf(values.Text("lora_target_modules")),
                  .rs_lora = values.Flag("use_rslora"),
                  .use_dora = values.Flag("use_dora"),
                  .rank_pattern = PatternsFrom<int64_t>(values, "lora_rank_pattern"),
                  .alpha_pattern = PatternsFrom<double>(values, "lora_alpha_pattern"),
                  .modules_to_save = Sorted(NamesFrom(values.Text("lora_modules_to_save")))};
  try {
    options.lora.SetInit(values.Text("init_lora_weights"));
  } catch (const Error& error) {
    throw UsageError(fmt::format("--init-lora-weights: {}", error.message()));
  }
  options.isomorphism = IsomorphismFrom(values);
  SetOptimizer(values, options);
  options.learning_rate = values.Number("learning_rate");
  options.loraplus_lr_ratio = values.Number("loraplus_lr_ratio");
  options.lr_scheduler = optim::ScheduleKindFromName(values.Text("lr_scheduler_type"));
  options.warmup_steps = values.Integer("warmup_steps");
  options.weight_decay = values.Number("weight_decay");
  options.max_grad_norm = values.Number("max_grad_norm");
  options.batch = values.Integer("per_device_train_batch_size");
  options.gradient_accumulation_steps = values.Integer("gradient_accumulation_steps");
  if (!values.IsAuto("max_length")) options.max_length = values.Integer("max_length");
  options.packing = values.Flag("packing");
  options.shuffle = values.Flag("shuffle");
  options.policy = PolicyFrom(values);
  options.seed = static_cast<uint64_t>(values.Integer("seed"));
  return options;
}

}  // namespace sophia::cli
