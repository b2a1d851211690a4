#include "sophia/plan/memory.h"

#include <algorithm>

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/printer.h"

namespace sophia::plan {
namespace {

bool IsReverse(const Node& scan) { return scan.attrs.Get<bool>("reverse"); }

bool HoldsReverseScan(const Region& region) {
  return std::ranges::any_of(
      region.nodes, [](const auto& node) { return node->op == &kScan && IsReverse(*node); });
}

// What forward scans stack up beside the scans that reverse them. Gradient accumulation puts both
// into the body of a scan of its own.
int64_t SavedBytes(const Region& region, const LiveSet& live) {
  const bool differentiates = HoldsReverseScan(region);
  int64_t bytes = 0;
  for (const auto& node : region.nodes) {
    if (node->op != &kScan || IsReverse(*node)) continue;
    const auto carries = static_cast<size_t>(node->attrs.Get<int64_t>("carries"));
    for (size_t i = carries; differentiates && i < node->results.size(); ++i) {
      const bool is_live = live.contains({node.get(), static_cast<int>(i)});
      if (is_live) bytes += node->results[i].bytes();
    }
    if (!differentiates) bytes += SavedBytes(*node->regions[0], live);
  }
  return bytes;
}

}  // namespace

MemoryTable CountMemory(const models::ModelPlan& model, const train::StepProgram& step) {
  MemoryTable table;
  for (const nn::ParamSpec& spec : model.specs()) {
    (spec.trainable ? table.adapters : table.weights) += spec.shape().bytes();
  }
  for (const optim::Slot& slot : step.slots) table.optimizer += slot.shape.bytes();
  const Region& main = step.graph->main();
  for (const auto& parameter : main.parameters) table.batch += parameter->results[0].bytes();
  table.batch -= table.weights + table.adapters + table.optimizer;
  table.saved = SavedBytes(main, LiveTensors(main));
  return table;
}

int64_t LargestParameter(const models::ModelPlan& model) {
  int64_t largest = 0;
  for (const nn::ParamSpec& spec : model.specs()) {
    largest = std::max(largest, spec.shape().bytes());
  }
  return largest;
}

}  // namespace sophia::plan
