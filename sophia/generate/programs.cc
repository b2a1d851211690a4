#include "sophia/generate/programs.h"

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::generate {
namespace {

Shape CacheShape(const models::ModelPlan& plan, const CacheSize& size) {
  return plan.model->CacheShape(size.batch, size.capacity, plan.policy->dtype());
}

// hidden: [B, D], the row of each sequence that the next token follows.
void AddNextToken(Graph& graph, const models::ModelPlan& plan, const Tensor& hidden) {
  const Tensor logits = plan.model->Logits(hidden);
  graph.AddOutput(logits, {.name = "logits"});
  graph.AddOutput(ArgMax(logits, -1), {.name = "token"});
}

}  // namespace

std::unique_ptr<Graph> TraceLogits(const models::ModelPlan& plan, int64_t batch, int64_t seq) {
  auto graph = std::make_unique<Graph>();
  models::BindInputs(*graph, plan);
  const Tensor ids = graph->AddInput({DType::kS32, {batch, seq}}, {.name = "ids"});
  const Tracing tracing(*graph);
  const Tensor positions = Iota({DType::kS32, {batch, seq}}, 1);
  const models::ForwardResult result = plan.model->Forward({.ids = ids, .positions = positions});
  graph->AddOutput(plan.model->Logits(result.hidden), {.name = "logits"});
  return graph;
}

std::unique_ptr<Graph> TracePrefill(const models::ModelPlan& plan, const CacheSize& size,
                                    int64_t seq) {
  SOPHIA_CHECK(seq > 0 && seq <= size.capacity);
  auto graph = std::make_unique<Graph>();
  models::BindInputs(*graph, plan);
  const Tensor ids = graph->AddInput({DType::kS32, {size.batch, seq}}, {.name = "ids"});
  const Tensor last = graph->AddInput({DType::kS32, {size.batch}}, {.name = "last"});
  const Tracing tracing(*graph);
  const Tensor empty = Full(CacheShape(plan, size), 0);
  const models::ForwardResult result =
      plan.model->Forward({.ids = ids,
                           .positions = Iota({DType::kS32, {size.batch, seq}}, 1),
                           .cache = models::KvCache{empty, empty}});
  graph->AddOutput(result.cache->keys, {.name = "keys"});
  graph->AddOutput(result.cache->values, {.name = "values"});
  const Tensor rows = Reshape(result.hidden, {size.batch * seq, result.hidden.dim(-1)});
  const Tensor first = Iota(last.shape(), 0) * static_cast<double>(seq);
  AddNextToken(*graph, plan, Take(rows, first + last, 0));
  return graph;
}

std::unique_ptr<Graph> TraceDecode(const models::ModelPlan& plan, const CacheSize& size) {
  auto graph = std::make_unique<Graph>();
  models::BindInputs(*graph, plan);
  const Shape token = {DType::kS32, {size.batch, 1}};
  const Tensor ids = graph->AddInput(token, {.name = "ids"});
  const Tensor positions = graph->AddInput(token, {.name = "positions"});
  const int first_cache = static_cast<int>(graph->inputs().size());
  const Tensor keys = graph->AddInput(CacheShape(plan, size), {.name = "keys"});
  const Tensor values = graph->AddInput(CacheShape(plan, size), {.name = "values"});
  const Tracing tracing(*graph);
  const models::ForwardResult result = plan.model->Forward(
      {.ids = ids, .positions = positions, .cache = models::KvCache{keys, values}});
  graph->AddOutput(result.cache->keys, {.name = "keys", .aliases_input = first_cache});
  graph->AddOutput(result.cache->values, {.name = "values", .aliases_input = first_cache + 1});
  AddNextToken(*graph, plan, Squeeze(result.hidden, 1));
  return graph;
}

}  // namespace sophia::generate
