#include "sophia/models/model_plan.h"

#include "sophia/models/registry.h"

namespace sophia::models {

ModelPlan::ModelPlan(const Json& config, std::string_view where,
                     std::unique_ptr<nn::ParamPolicy> param_policy)
    : policy(std::move(param_policy)),
      table(std::make_unique<nn::ParamTable>()),
      model(BuildModel(nn::ParamScope(table.get(), policy.get()), config, where)) {}

Tensor AddParameter(Graph& graph, const ModelPlan& plan, const nn::ParamSpec& spec,
                    std::string_view prefix) {
  const Shape shape = spec.shape();
  InputOptions options{.name = std::string(prefix) + spec.name(),
                       .sharding = graph.Replicated(shape)};
  if (plan.table->IsOnHost(spec)) options.memory_kind = std::string(kHostMemory);
  return graph.AddInput(shape, std::move(options));
}

std::vector<Tensor> BindInputs(Graph& graph, const ModelPlan& plan) {
  nn::ParamTable& table = *plan.table;
  table.set_tables_on_host(plan.policy->activations().offloads_tables);
  std::vector<Tensor> tensors;
  for (const nn::ParamSpec& spec : table.specs())
    tensors.push_back(AddParameter(graph, plan, spec));
  table.Bind(tensors);
  return tensors;
}

}  // namespace sophia::models
