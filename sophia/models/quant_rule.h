#pragma once

#include <map>
#include <memory>
#include <string>

#include "sophia/models/model_files.h"
#include "sophia/models/model_plan.h"

namespace sophia::models {

// What --quant says: "FORMAT", then for some modules another, ",NAME=FORMAT" each. A name is the
// end of a module's path: "down_proj", "self_attn.q_proj", "lm_head"; the longest one counts.
// FORMAT is of all other linear layers:
//   none   as they are, unpacked once
//   auto   packed if a packed format holds what the files store in all layers
//   else   the name of a format that weights are quantised to
// Embedding and head are packed only by name, to int8.
struct QuantChoice {
  std::string others = "auto";
  std::map<std::string, std::string> named = {};

  // Throws Error for texts that are not so.
  static QuantChoice FromText(const std::string& text);
};

// The packing rule of a choice, for one model.
class QuantRule {
 public:
  // `files` must outlive the rule's functions.
  QuantRule(const ModelFiles& files, QuantChoice choice);

  // Throws Error, when called, for sizes that a format does not allow.
  nn::PackingRule Function() const;
  // Once the model is declared: throws Error for a name that no frozen module has, with those there
  // are.
  void CheckNames(const std::vector<nn::ParamSpec>& specs) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// The plan of a model whose weights are packed as `quant`, a QuantChoice, says; its names are
// checked. `files` must outlive the plan.
std::unique_ptr<ModelPlan> BuildPlan(const ModelFiles& files,
                                     std::unique_ptr<nn::ParamPolicy> policy,
                                     const std::string& quant);

}  // namespace sophia::models
