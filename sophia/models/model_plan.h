#pragma once

#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "sophia/graph/graph.h"
#include "sophia/models/causal_lm.h"
#include "sophia/models/model_files.h"

namespace sophia::models {

// A model's structure: declared parameters and the code that traces it. Needs no weights.
struct ModelPlan {
  ModelPlan(const Json& config, std::string_view where,
            std::unique_ptr<nn::ParamPolicy> param_policy);

  std::unique_ptr<nn::ParamPolicy> policy;
  std::unique_ptr<nn::ParamTable> table;
  std::unique_ptr<CausalLm> model;

  const std::vector<nn::ParamSpec>& specs() const { return table->specs(); }
};

// The memory kind of what a policy offloads.
inline constexpr std::string_view kHostMemory = "pinned_host";

// Adds one of the plan's parameters as an input to the graph, named with a prefix, replicated over
// its mesh if it has one. It lies where the plan's table says.
Tensor AddParameter(Graph& graph, const ModelPlan& plan, const nn::ParamSpec& spec,
                    std::string_view prefix = "");

// Adds the model's parameters as inputs to the graph being traced and binds them. Tables lie where
// the plan's policy says.
std::vector<Tensor> BindInputs(Graph& graph, const ModelPlan& plan);

}  // namespace sophia::models
