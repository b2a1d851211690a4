#pragma once

#include <fmt/format.h>

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "sophia/base/json.h"
#include "sophia/io/tokenizer/regex.h"
#include "sophia/nn/param.h"

namespace sophia::lora {

class ModuleScales;

// What the reverse pass keeps of a branch under Remat::Named: A·x.
inline constexpr const char* kSavedBranch = "lora";

// Which linear layers get an adapter, as PEFT's target_modules: a list of names, each a module's
// whole path or its end after a dot; or a regular expression of Python for the whole path; or
// "all-linear".
using Targets = std::variant<std::vector<std::string>, std::string>;
// For people: names separated by commas, or the expression.
std::string TargetsText(const Targets& targets);

// "NAME=VALUE, NAME=VALUE" of patterns.
template <typename T>
std::string PatternsText(const std::vector<std::pair<std::string, T>>& patterns) {
  std::string text;
  for (const auto& [pattern, value] : patterns) {
    text += fmt::format("{}{}={}", text.empty() ? "" : ", ", pattern, value);
  }
  return text;
}

// {NAME: VALUE, ...} of patterns; of equal names the first counts.
template <typename T>
Json PatternsJson(const std::vector<std::pair<std::string, T>>& patterns) {
  Json json = Json::object();
  for (const auto& [pattern, value] : patterns) json.emplace(pattern, value);
  return json;
}

// How A and B begin: as PEFT's init_lora_weights true, or its pissa and pissa_niter_N.
enum class LoraInit : uint8_t { kDefault, kPissa };

// Low-rank adaptation (https://arxiv.org/abs/2106.09685): y + scale · B·A·x.
struct LoraConfig {
  int64_t rank = 8;
  double alpha = 16;
  double dropout = 0;
  Targets targets = std::string("all-linear");
  bool rs_lora = false;  // scale by alpha / sqrt(rank): https://arxiv.org/abs/2312.03732
  // Weight-decomposed adaptation (DoRA, https://arxiv.org/abs/2402.09353): the rows of W +
  // scale·B·A are scaled to trained magnitudes.
  bool use_dora = false;
  LoraInit init = LoraInit::kDefault;
  int64_t pissa_iterations = 0;  // of pissa_niter_N; 0: see SetPrincipalFactors
  // Ranks and alphas of some modules, as PEFT's rank_pattern and alpha_pattern: the first regular
  // expression of Python that matches a module's whole path, or its end after a dot.
  std::vector<std::pair<std::string, int64_t>> rank_pattern = {};
  std::vector<std::pair<std::string, double>> alpha_pattern = {};
  // Ends of the paths of modules that are trained as a whole and kept with the adapter, as PEFT's
  // modules_to_save. Of tied embeddings, the other keeps the base model's values.
  std::vector<std::string> modules_to_save = {};

  // "true", "pissa" or "pissa_niter_4".
  std::string InitName() const;
  // Throws Error naming the option for another name.
  void SetInit(std::string_view name);

  // Of modules that no pattern matches.
  double scale() const;
  // Throws Error naming `where` for values out of range.
  void Check(std::string_view where) const;
};

// Adds trainable f32 factors `lora_A.weight` [rank, in] and `lora_B.weight` [out, rank] to the
// linear layers that the targets name.
class LoraPolicy : public nn::ParamPolicy {
 public:
  // Throws Error when the targets are a regular expression that does not compile.
  LoraPolicy(DType dtype, LoraConfig config);
  ~LoraPolicy() override;

  std::unique_ptr<nn::LinearExtension> ExtendLinear(const nn::ParamScope& scope, int64_t in,
                                                    int64_t out) const override;

  bool Trains(std::string_view module) const override;

  // After the model is built: throws Error when a target names no linear layer of it, or a module
  // to save no module with parameters, or not in all layers.
  void CheckTargets() const;
  // Then: throws Error when a pattern of ranks or alphas matches no module with an adapter.
  void CheckPatterns() const;

  const LoraConfig& config() const { return config_; }

 private:
  bool Matches(const std::string& module) const;

  struct Module {
    std::string path;
    bool adapted;
  };

  LoraConfig config_;
  std::optional<io::tok::PythonRegex> pattern_;
  std::unique_ptr<const ModuleScales> scales_;
  mutable std::vector<Module> modules_;               // every linear layer seen
  mutable std::set<std::string, std::less<>> asked_;  // every path that Trains() was asked about
};

}  // namespace sophia::lora
