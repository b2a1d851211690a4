#include "sophia/plan/memory.h"

#include <algorithm>

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/graph/printer.h"

namespace sophia::plan {
namespace {

bool IsReverse(const Node& scan) { return scan.attrs.Get<bool>("reverse"); }

bool HoldsReverseScan(const Region& region) {
  return std::ranges::any_of(
      region.nodes, [](const auto& node) { return node->op == &kScan && IsReverse(*node); });
}

// Adds what forward scans stack up beside the scans that reverse them. Gradient accumulation puts
// both into the body of a scan of its own.
void AddSaved(const Region& region, const LiveSet& live, MemoryTable& table) {
  const bool differentiates = HoldsReverseScan(region);
  for (const auto& node : region.nodes) {
    if (node->op != &kScan || IsReverse(*node)) continue;
    const Region& body = *node->regions[0];
    const auto carries = static_cast<size_t>(node->attrs.Get<int64_t>("carries"));
    for (size_t i = carries; differentiates && i < node->results.size(); ++i) {
      if (!live.contains({node.get(), static_cast<int>(i)})) continue;
      (IsOnHost(body.results[i]) ? table.saved_on_host : table.saved) += node->results[i].bytes();
    }
    if (!differentiates) AddSaved(body, live, table);
  }
}

}  // namespace

void MemoryTable::SetPeak(int64_t bytes) {
  peak = bytes;
  const int64_t rest = peak - weights - adapters - optimizer - batch;
  saved = std::clamp<int64_t>(rest, 0, saved);
  temporaries = rest - saved;
}

MemoryTable CountMemory(const models::ModelPlan& model, const train::StepProgram& step) {
  MemoryTable table;
  for (const nn::ParamSpec& spec : model.specs()) {
    (spec.trainable                ? table.adapters
     : model.table->IsOnHost(spec) ? table.saved_on_host
                                   : table.weights) += spec.shape().bytes();
  }
  table.weights += step.teacher_bytes;
  for (const optim::Slot& slot : step.slots) table.optimizer += slot.shape.bytes();
  const Region& main = step.graph->main();
  for (const auto& parameter : main.parameters) table.batch += parameter->results[0].bytes();
  table.batch -= table.weights + table.adapters + table.optimizer + table.saved_on_host;
  AddSaved(main, LiveTensors(main), table);
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
