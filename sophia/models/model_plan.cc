#include "sophia/models/model_plan.h"

#include "sophia/models/registry.h"

namespace sophia::models {

ModelPlan::ModelPlan(const Json& config, std::string_view where,
                     std::unique_ptr<nn::ParamPolicy> param_policy)
    : policy(std::move(param_policy)),
      table(std::make_unique<nn::ParamTable>()),
      model(BuildModel(nn::ParamScope(table.get(), policy.get()), config, where)) {}

std::vector<Tensor> BindInputs(Graph& graph, const ModelPlan& plan) {
  nn::ParamTable& table = *plan.table;
  table.set_tables_on_host(plan.policy->activations().offloads_tables);
  std::vector<Tensor> tensors;
  for (const nn::ParamSpec& spec : table.specs()) {
    const Shape shape = spec.shape();
    InputOptions options{.name = spec.name(), .sharding = graph.Replicated(shape)};
    if (table.IsOnHost(spec)) options.memory_kind = std::string(kHostMemory);
    tensors.push_back(graph.AddInput(shape, std::move(options)));
  }
  table.Bind(tensors);
  return tensors;
}

}  // namespace sophia::models
