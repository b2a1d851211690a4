#include "sophia/autodiff/forward.h"

#include <algorithm>

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/special_ops.h"

namespace sophia {
namespace {

bool IsNamed(const Remat& remat, const Node& node) {
  if (node.op != &kCheckpointName) return false;
  const auto& name = node.attrs.Get<std::string>("name");
  return std::find(remat.names.begin(), remat.names.end(), name) != remat.names.end();
}

bool Keeps(const Remat& remat, const Node& node) {
  return remat.keep == Remat::Keep::kEverything ||
         (remat.keep == Remat::Keep::kNamed && IsNamed(remat, node));
}

// Computing it again costs less than stacking it. Widening is free and its operand is smaller;
// narrowing is worth keeping. A custom_vjp result is as cheap as the value it stands for.
bool IsCheap(const Tensor& tensor) {
  const Node& node = *tensor.node();
  if (node.op == &kCustomVjp) return IsCheap(AliasedValue(tensor));
  if (node.op->cheap) return true;
  return node.op->name == "convert" &&
         Info(node.results[0].dtype).bits >= Info(node.inputs[0].dtype()).bits;
}

bool Holds(const CheckpointScope* outer, const CheckpointScope* inner) {
  while (inner != nullptr && inner != outer) inner = inner->parent;
  return inner == outer;
}

}  // namespace

Tensor Cloner::Clone(const Tensor& tensor) {
  if (const auto it = values_.find(tensor); it != values_.end()) return it->second;
  const Node& node = *tensor.node();
  if (const auto it = nodes_.find(&node); it != nodes_.end()) {
    AddMissingResults(node, *it->second);
    return {it->second, tensor.index()};
  }
  std::vector<Tensor> inputs;
  for (const Tensor& input : node.inputs) inputs.push_back(lookup_(input));
  // What the regions use from outside must be there before them.
  for (const auto& region : node.regions) {
    for (const Tensor& capture : Captures(*region)) {
      if (!values_.contains(capture)) values_[capture] = lookup_(capture);
    }
  }
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
  for (const auto& node : region.nodes) CloneInner(*node, *copy);
  for (const Tensor& result : region.results) copy->results.push_back(Inner(result));
  return copy;
}

// Copies a node of a region that is being copied as `parent`, the current region.
void Cloner::CloneInner(const Node& node, Region& parent) {
  std::vector<Tensor> inputs;
  for (const Tensor& input : node.inputs) inputs.push_back(Inner(input));
  std::vector<std::unique_ptr<Region>> regions;
  for (const auto& nested : node.regions) regions.push_back(CloneRegion(*nested, parent));
  nodes_[&node] = AddNode(*node.op, std::move(inputs), node.attrs, node.loc, std::move(regions));
}

// A value used inside a region that is being copied: a copied node's, or one from outside.
Tensor Cloner::Inner(const Tensor& tensor) {
  if (const auto it = values_.find(tensor); it != values_.end()) return it->second;
  const auto it = nodes_.find(tensor.node());
  SOPHIA_CHECK(it != nodes_.end(), "{} is used before it is copied", tensor.node()->op->name);
  AddMissingResults(*tensor.node(), *it->second);
  return {it->second, tensor.index()};
}

// A scan gains results when values of its body are saved; its copy follows.
void Cloner::AddMissingResults(const Node& node, Node& copy) {
  for (size_t i = copy.results.size(); i < node.results.size(); ++i) {
    SOPHIA_CHECK(node.op == &kScan);
    const Tensor& result = node.regions[0]->results[i];
    Region& body = *copy.regions[0];
    if (IsOnHost(result) && !nodes_.contains(result.node())) {
      const RegionScope scope(body);
      CloneInner(*result.node(), body);
    }
    body.results.push_back(Inner(result));
    copy.results.push_back(node.results[i]);
  }
}

Tensor Forward::Get(const Tensor& tensor, const CheckpointScope* asker) {
  const Node& node = *tensor.node();
  for (const CheckpointScope* scope = asker; !Holds(scope, base_); scope = scope->parent) {
    if (Holds(scope, node.checkpoint) && !Keeps(scope->remat, node)) {
      return Copies(scope).Clone(tensor);
    }
  }
  return Available(tensor);
}

Cloner& Forward::Copies(const CheckpointScope* scope) {
  std::unique_ptr<Level>& level = levels_[scope];
  if (level == nullptr) {
    level = std::make_unique<Level>(Level{Cloner([this, scope](const Tensor& input) {
      const Tensor value = Get(input, scope);
      return scope == nullptr ? value : Guarded(value, *levels_.at(scope));
    })});
  }
  return level->cloner;
}

// Values that enter a scope's recomputation pass a barrier, or the compiler would notice that the
// same was computed before and keep that result instead.
Tensor Forward::Guarded(const Tensor& value, Level& level) {
  const Node& node = *value.node();
  const bool is_constant = node.inputs.empty() && node.op != &kParameter;
  if (is_constant || level.cloner.IsCopy(&node)) return value;
  Tensor& guarded = level.guarded[value];
  if (!guarded.defined()) guarded = OptimizationBarrier({value, pace_})[0];
  return guarded;
}

Tensor OuterForward::Get(const Tensor& tensor) const {
  const RegionScope in_region(region);
  return forward.Get(tensor, scope);
}

Tensor RecomputeForward::Available(const Tensor& tensor) {
  return IsWithin(tensor.node()->parent, &region_) ? Copies(nullptr).Clone(tensor)
                                                   : outer_.Get(tensor);
}

ScanForward::ScanForward(Node& scan, Region& reverse_body, OuterForward outer)
    : Forward(nullptr),
      scan_(scan),
      body_(*scan.regions[0]),
      reverse_body_(reverse_body),
      outer_(outer) {}

Tensor ScanForward::Available(const Tensor& tensor) {
  const Node& node = *tensor.node();
  if (IsWithin(node.parent, &body_) && node.op != &kParameter) {
    const auto& remat = scan_.attrs.Get<Remat>("remat");
    const bool is_kept = IsNamed(remat, node) || (Keeps(remat, node) && !IsCheap(tensor));
    if (!is_kept || IsInvariant(node)) return Copies(nullptr).Clone(tensor);
  }
  if (const auto it = known_.find(tensor); it != known_.end()) return it->second;
  return known_[tensor] = Lookup(tensor);
}

Tensor ScanForward::Lookup(const Tensor& tensor) {
  const Node& node = *tensor.node();
  if (!IsWithin(node.parent, &body_)) return outer_.Get(tensor);
  if (node.op != &kParameter) return Saved(tensor);
  const size_t index = IndexOf(node);
  if (IsInvariantParameter(index)) return outer_.Get(scan_.inputs[index]);
  const bool is_carry = index < static_cast<size_t>(scan_.attrs.Get<int64_t>("carries"));
  return is_carry ? Saved(tensor) : AddStacked(outer_.Get(scan_.inputs[index]), node.results[0]);
}

Tensor ScanForward::Saved(const Tensor& tensor) {
  const bool is_offloaded =
      tensor.node()->op == &kParameter && scan_.attrs.Get<Remat>("remat").offloads_carries;
  Tensor kept = tensor;
  if (is_offloaded) {
    const RegionScope scope(body_);
    kept = Place(tensor, Placement::kPinnedHost);
  }
  Shape stacked = tensor.shape();
  stacked.dims.insert(stacked.dims.begin(), scan_.attrs.Get<int64_t>("length"));
  body_.results.push_back(kept);
  scan_.results.push_back(std::move(stacked));
  const Tensor result(&scan_, static_cast<int>(scan_.results.size()) - 1);
  if (is_offloaded && scan_.attrs.Get<Remat>("remat").prefetches_carries) {
    prefetched_.push_back({outer_.Get(result), AddParameter(reverse_body_, tensor.shape())});
    return prefetched_.back().slice;
  }
  const Tensor slice = AddStacked(outer_.Get(result), tensor.shape());
  if (!is_offloaded) return slice;
  const RegionScope scope(reverse_body_);
  return Place(slice, Placement::kDevice);
}

Tensor ScanForward::AddStacked(const Tensor& stacked, Shape slice) {
  stacked_.push_back(stacked);
  return AddParameter(reverse_body_, std::move(slice));
}

// Whether a node of the body gives the same value in every iteration: saving it would stack copies.
bool ScanForward::IsInvariant(const Node& node) {
  if (!IsWithin(node.parent, &body_)) return true;
  if (node.op == &kParameter) {
    return node.parent == &body_ && IsInvariantParameter(IndexOf(node));
  }
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

size_t ScanForward::IndexOf(const Node& parameter) const {
  const auto it = std::find_if(body_.parameters.begin(), body_.parameters.end(),
                               [&](const auto& own) { return own.get() == &parameter; });
  SOPHIA_CHECK(it != body_.parameters.end(), "a parameter of another region");
  return static_cast<size_t>(it - body_.parameters.begin());
}

// A carry that the body hands on as it came.
bool ScanForward::IsInvariantParameter(size_t index) const {
  return index < static_cast<size_t>(scan_.attrs.Get<int64_t>("carries")) &&
         body_.results[index] == Tensor(body_.parameters[index].get(), 0);
}

}  // namespace sophia
