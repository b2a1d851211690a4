#include "sophia/plan/live_bytes.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/op_lists.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/graph/printer.h"

namespace sophia::plan {
namespace {

using OpSet = std::unordered_set<const OpDef*>;
using TensorSet = std::unordered_set<Tensor, TensorHash>;

const OpSet& ElementwiseOps() {
  static const OpSet kOps = [] {
    OpSet all;
    for (const auto& list : {ops::UnaryOps(), ops::BinaryOps(), ops::SelectOps(), ops::TypeOps()}) {
      all.insert(list.begin(), list.end());
    }
    return all;
  }();
  return kOps;
}

// Whether only dimensions of one element change their place.
bool KeepsOrder(const Node& transpose) {
  const Dims& dims = transpose.inputs[0].dims();
  int64_t last = -1;
  for (const int64_t axis : transpose.attrs.Get<Dims>("permutation")) {
    if (dims[static_cast<size_t>(axis)] == 1) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}

// Whose results are other readings of their operands, or cost nothing to make again.
bool IsView(const Node& node) {
  if (node.op->name == "transpose") return KeepsOrder(node);
  constexpr std::array<std::string_view, 10> kNames = {
      "constant",      "full",
      "iota",          "reshape",
      "slice",         "dynamic_slice",
      "custom_vjp",    "broadcast_in_dim",
      "stop_gradient", "checkpoint_name",
  };
  return std::ranges::find(kNames, node.op->name) != kNames.end();
}

// A wider copy is made where it is read; a narrower one is kept instead of what it is made from.
bool Widens(const Node& convert) {
  return convert.results[0].bytes() >= convert.inputs[0].shape().bytes();
}

bool IsElementwise(const Node& node) { return ElementwiseOps().contains(node.op); }

bool MayReuseOperands(const Node& node) {
  return IsElementwise(node) || node.op == &kScan || node.op == &kWhile ||
         node.op->name == "dynamic_update_slice" || node.op->name == "scatter";
}

bool ResultIsOnHost(const Node& node, size_t index) {
  if (node.op == &kScan) return IsOnHost(node.regions[0]->results[index]);
  return IsOnHost({const_cast<Node*>(&node), static_cast<int>(index)});
}

// What a node reads of its region or of those around it.
std::vector<Tensor> ReadBy(const Node& node) {
  std::vector<Tensor> read = node.inputs;
  for (const auto& region : node.regions) {
    const std::vector<Tensor> captured = Captures(*region);
    read.insert(read.end(), captured.begin(), captured.end());
  }
  return read;
}

class Memory {
 public:
  Memory(const Graph& graph, const Region& function) : graph_(graph), live_(LiveTensors(function)) {
    FindReaders(function);
  }

  // The most that is live at once of what the region makes, and of its parameters from `own` on.
  int64_t Peak(const Region& region, size_t own) {
    std::unordered_map<Tensor, size_t, TensorHash> last;
    const size_t end = region.nodes.size();
    for (size_t i = 0; i < end; ++i) {
      const Node& node = *region.nodes[i];
      if (!IsMade(node)) continue;
      for (const Tensor& read : ReadBy(node)) {
        for (const Tensor& root : Roots(read)) last[root] = i;
      }
    }
    for (const Tensor& result : region.results) {
      for (const Tensor& root : Roots(result)) last[root] = end;
    }
    if (region.owner == nullptr) {
      for (const auto& argument : region.parameters) last[{argument.get(), 0}] = end;
    }
    std::unordered_map<size_t, int64_t> dying;
    int64_t live = 0;
    const auto add = [&](const Tensor& tensor, size_t made, int64_t bytes) {
      const auto found = last.find(tensor);
      dying[found == last.end() ? made : found->second] += bytes;
      live += bytes;
    };
    for (size_t i = own; i < region.parameters.size(); ++i) {
      const Tensor parameter(region.parameters[i].get(), 0);
      if (live_.contains(parameter)) add(parameter, 0, parameter.shape().bytes());
    }
    int64_t peak = live;
    for (size_t i = 0; i < end; ++i) {
      Node& node = *region.nodes[i];
      if (!IsMade(node)) continue;
      int64_t reused = MayReuseOperands(node) ? dying[i] : 0;
      const int64_t before = live;
      for (size_t r = 0; r < node.results.size(); ++r) {
        const Tensor result(&node, static_cast<int>(r));
        if (live_.contains(result) && !ResultIsOnHost(node, r))
          add(result, i, node.results[r].bytes());
      }
      reused = std::min(reused, live - before);
      peak = std::max(peak, live - reused + Inside(node));
      live -= dying[i];
    }
    return peak;
  }

 private:
  void FindReaders(const Region& region) {
    for (const Tensor& result : region.results) readers_[result].push_back(nullptr);
    for (const auto& node : region.nodes) {
      for (const Tensor& input : node->inputs) readers_[input].push_back(node.get());
      for (const auto& inner : node->regions) FindReaders(*inner);
    }
  }

  // Whether a node that the outputs need gets memory of its own.
  bool IsMade(const Node& node) const {
    const Tensor first(const_cast<Node*>(&node), 0);
    bool needed = node.results.empty();
    for (int i = 0; i < static_cast<int>(node.results.size()); ++i)
      needed = needed || live_.contains({first.node(), i});
    return needed && !IsFused(node);
  }
  bool IsFused(const Node& node) const {
    if (IsView(node)) return true;
    const std::vector<const Node*>& readers = ReadersOf(node);
    if (!IsElementwise(node) || readers.empty()) return false;
    const bool is_convert = node.op->name == "convert";
    return (is_convert ? Widens(node) : readers.size() == 1) && FuseAll(readers);
  }
  bool FuseAll(const std::vector<const Node*>& readers) const {
    return std::ranges::all_of(readers, [&](const Node* reader) { return Fuses(reader); });
  }
  // Whether what a node reads can be computed within it; nullptr: the end of a region.
  bool Fuses(const Node* reader) const {
    if (reader == nullptr || !reader->regions.empty() || reader->op == &kCall) return false;
    if (reader->op->name == "custom_call") return false;
    return !IsView(*reader) || FuseAll(ReadersOf(*reader));
  }
  // Of a node's first result.
  const std::vector<const Node*>& ReadersOf(const Node& node) const {
    static const std::vector<const Node*> kNone;
    const auto found = readers_.find({const_cast<Node*>(&node), 0});
    return found == readers_.end() ? kNone : found->second;
  }

  // The values in memory that a value is computed from where it is read.
  const std::vector<Tensor>& Roots(const Tensor& tensor) {
    const auto found = roots_.find(tensor);
    if (found != roots_.end()) return found->second;
    std::vector<Tensor> roots;
    const Tensor aliased = AliasedValue(tensor);
    if (!(aliased == tensor)) {
      roots = Roots(aliased);
    } else if (!IsFused(*tensor.node())) {
      roots = {tensor};
    } else {
      TensorSet seen;
      for (const Tensor& input : tensor.node()->inputs) {
        for (const Tensor& root : Roots(input)) {
          if (seen.insert(root).second) roots.push_back(root);
        }
      }
    }
    return roots_[tensor] = std::move(roots);
  }

  int64_t Inside(const Node& node) {
    if (node.op == &kCall) {
      const std::string& name = node.attrs.Get<std::string>("name");
      for (const auto& [known, body] : graph_.functions()) {
        if (known == name) return Memory(graph_, *body).Peak(*body, body->parameters.size());
      }
    }
    int64_t most = 0;
    for (const auto& region : node.regions) most = std::max(most, Peak(*region, SlicesFrom(node)));
    return most;
  }
  // Slices of a scan's xs are the only parameters that are not values of the region around.
  static size_t SlicesFrom(const Node& node) {
    return node.op == &kScan ? static_cast<size_t>(node.attrs.Get<int64_t>("carries"))
                             : node.regions[0]->parameters.size();
  }

  const Graph& graph_;
  const LiveSet live_;
  // nullptr: the end of a region.
  std::unordered_map<Tensor, std::vector<const Node*>, TensorHash> readers_;
  std::unordered_map<Tensor, std::vector<Tensor>, TensorHash> roots_;
};

}  // namespace

int64_t LiveBytes(const Graph& graph) {
  const Region& main = graph.main();
  int64_t bytes = Memory(graph, main).Peak(main, 0);
  for (const OutputOptions& output : graph.outputs()) {
    if (output.aliases_input) {
      bytes -= main.parameters[static_cast<size_t>(*output.aliases_input)]->results[0].bytes();
    }
  }
  return bytes;
}

}  // namespace sophia::plan
