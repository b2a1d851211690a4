#include "sophia/autodiff/forward.h"

#include <algorithm>

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/special_ops.h"

namespace sophia {
namespace {

bool IsNamed(const Remat& remat, const Node& node) {
  if (node.op != &kCheckpointName || remat.keep != Remat::Keep::kNamed) return false;
  const auto& name = node.attrs.Get<std::string>("name");
  return std::find(remat.names.begin(), remat.names.end(), name) != remat.names.end();
}

// Widening costs nothing to repeat and its operand is smaller; narrowing is worth keeping.
bool IsCheap(const Node& node) {
  if (node.op->cheap) return true;
  return node.op->name == "convert" &&
         Info(node.results[0].dtype).bits >= Info(node.inputs[0].dtype()).bits;
}

// Follows identities, but stops at a named value that the policy keeps.
Tensor Behind(Tensor tensor, const Remat* remat) {
  while (true) {
    if (remat != nullptr && IsNamed(*remat, *tensor.node())) return tensor;
    const Tensor next = AliasedValue(tensor);
    if (next == tensor) return tensor;
    tensor = next;
  }
}

}  // namespace

bool Keeps(const Remat& remat, const Node& node) {
  switch (remat.keep) {
    case Remat::Keep::kEverything:
      return !IsCheap(node);
    case Remat::Keep::kNothing:
      return false;
    case Remat::Keep::kNamed:
      return IsNamed(remat, node);
  }
  return false;
}

Tensor Cloner::Clone(const Tensor& tensor) {
  if (const auto it = values_.find(tensor); it != values_.end()) return it->second;
  const Node& node = *tensor.node();
  if (const auto it = nodes_.find(&node); it != nodes_.end()) {
    AddMissingResults(node, *it->second);
    return {it->second, tensor.index()};
  }
  std::vector<Tensor> inputs;
  for (const Tensor& input : node.inputs) inputs.push_back(lookup_(input));
  std::vector<std::unique_ptr<Region>> regions;
  for (const auto& region : node.regions) {
    regions.push_back(CloneRegion(*region, Graph::Current().current_region()));
  }
  Node* copy = AddNode(*node.op, std::move(inputs), node.attrs, node.loc, std::move(regions));
  nodes_[&node] = copy;
  copies_.insert(copy);
  return {copy, tensor.index()};
}

std::unique_ptr<Region> Cloner::CloneRegion(const Region& region, Region& parent) {
  auto copy = std::make_unique<Region>();
  copy->parent = &parent;
  for (const auto& parameter : region.parameters) {
    nodes_[parameter.get()] = AddParameter(*copy, parameter->results[0], parameter->loc).node();
  }
  const RegionScope scope(*copy);
  for (const auto& node : region.nodes) {
    std::vector<Tensor> inputs;
    for (const Tensor& input : node->inputs) inputs.push_back(Inner(input));
    std::vector<std::unique_ptr<Region>> regions;
    for (const auto& nested : node->regions) regions.push_back(CloneRegion(*nested, *copy));
    nodes_[node.get()] =
        AddNode(*node->op, std::move(inputs), node->attrs, node->loc, std::move(regions));
  }
  for (const Tensor& result : region.results) copy->results.push_back(Inner(result));
  return copy;
}

// A value used inside a region that is being copied: a copied node's, or one from outside.
Tensor Cloner::Inner(const Tensor& tensor) {
  const auto it = nodes_.find(tensor.node());
  if (it == nodes_.end()) return lookup_(tensor);
  AddMissingResults(*tensor.node(), *it->second);
  return {it->second, tensor.index()};
}

// A scan gains results when values of its body are saved; its copy follows.
void Cloner::AddMissingResults(const Node& node, Node& copy) {
  for (size_t i = copy.results.size(); i < node.results.size(); ++i) {
    SOPHIA_CHECK(node.op == &kScan);
    copy.regions[0]->results.push_back(Inner(node.regions[0]->results[i]));
    copy.results.push_back(node.results[i]);
  }
}

SameRegionForward::SameRegionForward()
    : cloner_([this](const Tensor& input) { return Guarded(Get(input)); }) {}

Tensor SameRegionForward::Get(const Tensor& given) {
  const CheckpointScope* scope = given.node()->checkpoint;
  const Tensor tensor = Behind(given, scope == nullptr ? nullptr : &scope->remat);
  const Node& node = *tensor.node();
  scope = node.checkpoint;
  if (scope == nullptr || scope->remat.keep == Remat::Keep::kEverything ||
      Keeps(scope->remat, node)) {
    return tensor;
  }
  return cloner_.Clone(tensor);
}

// Kept values that enter a recomputation pass a barrier, or the compiler would notice that the same
// was computed before and keep that result instead.
Tensor SameRegionForward::Guarded(const Tensor& value) {
  const Node& node = *value.node();
  const bool is_constant = node.inputs.empty() && node.op != &kParameter;
  if (is_constant || cloner_.IsCopy(&node)) return value;
  Tensor& guarded = guarded_[value];
  if (!guarded.defined()) guarded = OptimizationBarrier({value, pace_})[0];
  return guarded;
}

RecomputeForward::RecomputeForward(const Region& region, Forward& outer, Region& outer_region)
    : region_(region),
      outer_(outer),
      outer_region_(outer_region),
      cloner_([this](const Tensor& input) { return Get(input); }) {}

Tensor RecomputeForward::Get(const Tensor& given) {
  const Tensor tensor = Behind(given, nullptr);
  if (IsWithin(tensor.node()->parent, &region_)) return cloner_.Clone(tensor);
  const RegionScope scope(outer_region_);
  return outer_.Get(tensor);
}

ScanForward::ScanForward(Node& scan, Region& reverse_body, Forward& outer, Region& outer_region)
    : scan_(scan),
      body_(*scan.regions[0]),
      reverse_body_(reverse_body),
      outer_(outer),
      outer_region_(outer_region),
      cloner_([this](const Tensor& input) { return Get(input); }) {}

Tensor ScanForward::Get(const Tensor& given) {
  const Tensor tensor = Behind(given, &scan_.attrs.Get<Remat>("remat"));
  const Node& node = *tensor.node();
  const bool is_parameter = node.parent == &body_ && node.op == &kParameter;
  if (!is_parameter && IsWithin(node.parent, &body_) && (IsInvariant(node) || !IsKept(node))) {
    return cloner_.Clone(tensor);
  }
  Tensor& value = known_[tensor];
  if (!value.defined()) value = Lookup(tensor);
  return value;
}

Tensor ScanForward::Lookup(const Tensor& tensor) {
  const Node& node = *tensor.node();
  if (!IsWithin(node.parent, &body_)) return Outer(tensor);
  const auto carries = static_cast<size_t>(scan_.attrs.Get<int64_t>("carries"));
  for (size_t i = carries; i < body_.parameters.size(); ++i) {
    if (body_.parameters[i].get() == &node) {
      return AddStacked(Outer(scan_.inputs[i]), node.results[0]);
    }
  }
  return Saved(tensor);
}

Tensor ScanForward::Outer(const Tensor& tensor) {
  const RegionScope scope(outer_region_);
  return outer_.Get(tensor);
}

Tensor ScanForward::Saved(const Tensor& tensor) {
  Shape stacked = tensor.shape();
  stacked.dims.insert(stacked.dims.begin(), scan_.attrs.Get<int64_t>("length"));
  body_.results.push_back(tensor);
  scan_.results.push_back(std::move(stacked));
  const Tensor result(&scan_, static_cast<int>(scan_.results.size()) - 1);
  return AddStacked(Outer(result), tensor.shape());
}

Tensor ScanForward::AddStacked(const Tensor& stacked, Shape slice) {
  stacked_.push_back(stacked);
  return AddParameter(reverse_body_, std::move(slice));
}

// Whether a node of the body gives the same value in every iteration: saving it would stack copies.
bool ScanForward::IsInvariant(const Node& node) {
  if (!IsWithin(node.parent, &body_)) return true;
  if (node.op == &kParameter) return false;
  if (const auto it = invariant_.find(&node); it != invariant_.end()) return it->second;
  bool invariant = true;
  for (const Tensor& input : node.inputs) {
    invariant = invariant && IsInvariant(*input.node());
  }
  for (const auto& region : node.regions) {
    for (const Tensor& capture : Captures(*region)) {
      invariant = invariant && IsInvariant(*capture.node());
    }
  }
  invariant_[&node] = invariant;
  return invariant;
}

bool ScanForward::IsKept(const Node& node) const {
  if (!Keeps(scan_.attrs.Get<Remat>("remat"), node)) return false;
  for (const CheckpointScope* scope = node.checkpoint; scope != nullptr; scope = scope->parent) {
    if (!Keeps(scope->remat, node)) return false;
  }
  return true;
}

}  // namespace sophia
