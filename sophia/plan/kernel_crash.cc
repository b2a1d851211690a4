#include "sophia/plan/kernel_crash.h"

#include <set>
#include <string>
#include <vector>

#include "sophia/pallas/mosaic.h"
#include "sophia/plan/child.h"

namespace sophia::plan {
namespace {

void AddKernels(const Region& region, std::vector<const Node*>& kernels) {
  for (const auto& node : region.nodes) {
    if (pallas::IsMosaicCall(*node)) kernels.push_back(node.get());
    for (const auto& inner : node->regions) AddKernels(*inner, kernels);
  }
}

// The kernels of the graph, equal ones once.
std::vector<const Node*> KernelsOf(const Graph& graph) {
  std::vector<const Node*> all;
  AddKernels(graph.main(), all);
  for (const auto& [name, body] : graph.functions()) AddKernels(*body, all);
  std::set<std::string> seen;
  std::vector<const Node*> kernels;
  for (const Node* node : all) {
    if (seen.insert(node->attrs.Get<std::string>("backend_config")).second) kernels.push_back(node);
  }
  return kernels;
}

void TraceAlone(const Node& kernel, Graph& graph) {
  const Tracing tracing(graph);
  std::vector<Tensor> inputs;
  for (const Tensor& input : kernel.inputs) {
    inputs.push_back(graph.AddInput(input.shape(), {.name = "operand"}));
  }
  Node* call = AddNode(*kernel.op, std::move(inputs), kernel.attrs, kernel.loc);
  for (int i = 0; i < static_cast<int>(call->results.size()); ++i) {
    graph.AddOutput(Tensor(call, i), {.name = "result"});
  }
}

}  // namespace

std::optional<Error> KernelCrashIn(const Graph& graph,
                                   const std::function<void(const Graph&)>& compile) {
  for (const Node* kernel : KernelsOf(graph)) {
    Graph alone;
    TraceAlone(*kernel, alone);
    try {
      compile(alone);
    } catch (const ChildDied& died) {
      return Error(
          fmt::format("{}:{}", kernel->loc.file_name(), kernel->loc.line()),
          fmt::format("kernel '{}': expected what libtpu compiles, got a compiler that dies "
                      "on this kernel alone ({})",
                      kernel->attrs.Get<std::string>("location"), died.what()));
    }
  }
  return std::nullopt;
}

}  // namespace sophia::plan
