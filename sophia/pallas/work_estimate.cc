#include "sophia/pallas/work_estimate.h"

#include <algorithm>
#include <functional>

#include "sophia/base/json.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/graph/printer.h"
#include "sophia/pallas/mosaic.h"

namespace sophia::pallas {
namespace {

double OperandBytes(const Node& node) {
  int64_t bytes = 0;
  for (const Tensor& input : node.inputs) bytes += input.shape().bytes();
  for (const Shape& result : node.results) bytes += result.bytes();
  return static_cast<double>(bytes);
}

// 2 for each element of the result and each element that is summed.
double DotFlops(const Node& node) {
  double flops = 2.0 * static_cast<double>(node.results[0].elements());
  const Shape& lhs = node.inputs[0].shape();
  for (const int64_t axis : node.attrs.Get<Dims>("lhs_contract")) {
    flops *= static_cast<double>(lhs.dims[static_cast<size_t>(axis)]);
  }
  return flops;
}

enum class WorkKind : uint8_t { kProduct, kKernel, kToHost, kFromHost };

// Of one execution of a node, and how often it is executed.
struct Work {
  WorkKind kind;
  double flops;
  double bytes;
  double times;
};

class Counter {
 public:
  using Sink = std::function<void(const Work& work)>;

  Counter(const LiveSet& live, Sink add) : live_(live), add_(std::move(add)) {}

  void Count(const Region& region, double times) {
    for (const auto& node : region.nodes) {
      if (IsLive(*node)) CountNode(*node, times);
    }
  }

 private:
  bool IsLive(const Node& node) const {
    for (int i = 0; i < static_cast<int>(node.results.size()); ++i) {
      if (live_.contains({const_cast<Node*>(&node), i})) return true;
    }
    return false;
  }

  void CountNode(const Node& node, double times) {
    if (node.op->name == "dot_general")
      return add_({WorkKind::kProduct, DotFlops(node), OperandBytes(node), times});
    if (node.op->name == "custom_call") return CountKernel(node, times);
    const Tensor result(const_cast<Node*>(&node), 0);
    const auto moved = static_cast<double>(node.results[0].bytes());
    if (IsOnHost(result)) return add_({WorkKind::kToHost, 0, moved, times});
    if (IsFetched(result)) return add_({WorkKind::kFromHost, 0, moved, times});
    if (node.op == &kCase) return CountLeastBranch(node, times);
    const bool is_scan = node.op == &kScan;
    const double length = is_scan ? static_cast<double>(node.attrs.Get<int64_t>("length")) : 1;
    for (const auto& inner : node.regions) Count(*inner, times * length);
  }

  // A step does that much at least.
  void CountLeastBranch(const Node& node, double times) {
    const Region* least = nullptr;
    double least_flops = 0;
    for (const auto& branch : node.regions) {
      double flops = 0;
      Counter(live_, [&](const Work& work) { flops += work.times * work.flops; }).Count(*branch, 1);
      if (least != nullptr && flops >= least_flops) continue;
      least = branch.get();
      least_flops = flops;
    }
    if (least != nullptr) Count(*least, times);
  }

  void CountKernel(const Node& node, double times) {
    if (!IsMosaicCall(node)) return;
    const Json config = ParseJson(node.attrs.Get<std::string>("backend_config"), "backend_config");
    const Json& call = config["custom_call_config"];
    if (!call.contains("cost_estimate")) return;
    const double accessed = call["cost_estimate"].value("bytes_accessed", 0.0);
    add_({WorkKind::kKernel, call["cost_estimate"].value("flops", 0.0),
          accessed > 0 ? accessed : OperandBytes(node), times});
  }

  const LiveSet& live_;
  Sink add_;
};

}  // namespace

WorkEstimate EstimateWork(const Graph& graph, const ChipInfo& chip) {
  WorkEstimate total;
  const LiveSet live = LiveTensors(graph.main());
  Counter(live, [&](const Work& work) {
    if (work.kind == WorkKind::kToHost) return void(total.to_host += work.times * work.bytes);
    if (work.kind == WorkKind::kFromHost) return void(total.from_host += work.times * work.bytes);
    const double devices = chip.devices;
    const double seconds = work.times * std::max(work.flops * devices / chip.bf16_flops,
                                                 work.bytes * devices / chip.hbm_bandwidth);
    total.flops += work.times * work.flops;
    total.seconds += seconds;
    if (work.kind == WorkKind::kKernel) total.kernel_seconds += seconds;
  }).Count(graph.main(), 1);
  return total;
}

double StepSeconds(double computing, const WorkEstimate& work, const ChipInfo& chip,
                   bool prefetches) {
  const double bandwidth = kHostBandwidth / chip.devices;
  const double out = work.to_host / bandwidth;
  const double hidden_back = prefetches ? out : 0;
  const double forward = computing / 4;
  return std::max(forward, out) + std::max(computing - forward, hidden_back) +
         work.from_host / bandwidth - hidden_back;
}

double CountFlops(const Graph& graph) {
  double total = 0;
  const LiveSet live = LiveTensors(graph.main());
  Counter(live, [&](const Work& work) { total += work.times * work.flops; }).Count(graph.main(), 1);
  return total;
}

}  // namespace sophia::pallas
