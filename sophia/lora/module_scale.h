#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sophia/io/tokenizer/regex.h"
#include "sophia/lora/lora.h"

namespace sophia::lora {

// Rank and scale of one module's adapter.
struct ModuleScale {
  int64_t rank = 0;
  double scale = 0;  // of B·A·x

  bool operator==(const ModuleScale&) const = default;
};

// Those of all modules, by the patterns of a config.
class ModuleScales {
 public:
  // Throws Error when a pattern does not compile.
  explicit ModuleScales(const LoraConfig& config);

  // By a module's path, such as model.layers.0.self_attn.q_proj.
  ModuleScale Of(const std::string& module) const;

  // The first pattern of either kind that matches none of `modules`; empty: all match one.
  std::string Unused(const std::vector<std::string>& modules) const;

 private:
  template <typename T>
  struct Pattern {
    std::string text;
    io::tok::PythonRegex regex;
    T value;
  };

  LoraConfig config_;
  std::vector<Pattern<int64_t>> ranks_;
  std::vector<Pattern<double>> alphas_;
};

}  // namespace sophia::lora
