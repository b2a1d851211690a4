#include "sophia/autodiff/sweep.h"

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/ops/special_ops.h"

namespace sophia {
namespace {

void ActivateScan(const Node& scan, TensorSet& active) {
  const Region& body = *scan.regions[0];
  const auto carries = static_cast<size_t>(scan.attrs.Get<int64_t>("carries"));
  const std::vector<Node*> nodes = NodesFrom(body);
  for (size_t i = 0; i < scan.inputs.size(); ++i) {
    if (active.contains(scan.inputs[i])) active.insert({body.parameters[i].get(), 0});
  }
  bool changed = true;
  while (changed) {
    changed = false;
    PropagateActivity(nodes, active);
    for (size_t i = 0; i < carries; ++i) {
      if (active.contains(body.results[i])) {
        changed = active.insert({body.parameters[i].get(), 0}).second || changed;
      }
    }
  }
  for (size_t i = 0; i < body.results.size(); ++i) {
    const bool carried = i < carries && active.contains({body.parameters[i].get(), 0});
    if (carried || active.contains(body.results[i])) {
      active.insert({const_cast<Node*>(&scan), static_cast<int>(i)});
    }
  }
}

void ActivateCase(const Node& node, TensorSet& active) {
  for (const auto& branch : node.regions) {
    PropagateActivity(NodesFrom(*branch), active);
    for (size_t i = 0; i < branch->results.size(); ++i) {
      if (active.contains(branch->results[i])) {
        active.insert({const_cast<Node*>(&node), static_cast<int>(i)});
      }
    }
  }
}

bool UsesActive(const Node& node, const TensorSet& active) {
  size_t count = node.inputs.size();
  if (node.op == &kCustomVjp) {
    count = node.attrs.Get<std::shared_ptr<const CustomVjpRule>>("rule")->primals;
  }
  for (size_t i = 0; i < count; ++i) {
    if (active.contains(node.inputs[i])) return true;
  }
  for (const auto& region : node.regions) {
    for (const Tensor& capture : Captures(*region)) {
      if (active.contains(capture)) return true;
    }
  }
  return false;
}

// A node's rule at work: reads through the Forward, adds to the sweep.
class NodeContext : public VjpContext {
 public:
  NodeContext(Sweep& sweep, Node& node) : sweep_(sweep), node_(node) {}

  const Node& node() const override { return node_; }
  Tensor In(int i) override { return Get(node_.inputs[static_cast<size_t>(i)]); }
  Tensor Out(int i) override { return Get({&node_, i}); }
  Tensor Grad(int i) override { return sweep_.Cotangent({&node_, i}); }
  bool Wants(int i) const override { return sweep_.IsActive(node_.inputs[static_cast<size_t>(i)]); }
  void Add(int i, const Tensor& cotangent) override {
    sweep_.Add(node_.inputs[static_cast<size_t>(i)], cotangent);
  }

 private:
  Tensor Get(const Tensor& tensor) { return sweep_.forward().Get(tensor, node_.checkpoint); }

  Sweep& sweep_;
  Node& node_;
};

}  // namespace

std::vector<Node*> NodesFrom(const Region& region, size_t first) {
  std::vector<Node*> nodes;
  for (size_t i = first; i < region.nodes.size(); ++i) nodes.push_back(region.nodes[i].get());
  return nodes;
}

void PropagateActivity(const std::vector<Node*>& nodes, TensorSet& active) {
  for (Node* node : nodes) {
    if (node->op->gradient == OpDef::Gradient::kNone || !UsesActive(*node, active)) continue;
    if (node->op == &kScan) {
      ActivateScan(*node, active);
    } else if (node->op == &kCase) {
      ActivateCase(*node, active);
    } else {
      for (size_t i = 0; i < node->results.size(); ++i) {
        if (IsFloat(node->results[i].dtype)) active.insert({node, static_cast<int>(i)});
      }
    }
  }
}

void Sweep::Add(const Tensor& tensor, const Tensor& cotangent) {
  if (!IsActive(tensor)) return;
  SOPHIA_CHECK(cotangent.shape() == tensor.shape(), "cotangent {} for {} of {}",
               ToString(cotangent.shape()), ToString(tensor.shape()), tensor.node()->op->name);
  Tensor& sum = cotangents_[tensor];
  sum = sum.defined() ? sum + cotangent : cotangent;
}

Tensor Sweep::Cotangent(const Tensor& tensor) const {
  const auto it = cotangents_.find(tensor);
  return it == cotangents_.end() ? ZerosLike(tensor) : it->second;
}

void Sweep::Run(const std::vector<Node*>& nodes) {
  for (auto it = nodes.rbegin(); it != nodes.rend(); ++it) RunNode(**it);
}

void Sweep::RunNode(Node& node) {
  Tensor first;
  for (int i = 0; i < static_cast<int>(node.results.size()) && !first.defined(); ++i) {
    if (Has({&node, i})) first = cotangents_.at({&node, i});
  }
  if (!first.defined()) return;
  forward_.set_pace(first);
  switch (node.op->gradient) {
    case OpDef::Gradient::kRule: {
      NodeContext context(*this, node);
      node.op->vjp(context);
      return;
    }
    case OpDef::Gradient::kNone:
      return;
    case OpDef::Gradient::kForbidden:
      FailAt(node.loc, "{}: expected an op with a gradient; wrap it in CustomVjp or StopGradient",
             node.op->name);
    case OpDef::Gradient::kStructural:
      if (node.op == &kScan) return ScanVjp(*this, node);
      if (node.op == &kCase) return CaseVjp(*this, node);
      SOPHIA_CHECK(node.op == &kCall);
      return CallVjp(*this, node);
  }
}

}  // namespace sophia
