#pragma once

#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "sophia/graph/graph.h"

namespace sophia {

// Makes values of the forward program available where the backward program is being traced: as they
// are, saved, or computed again.
class Forward {
 public:
  virtual ~Forward() = default;

  // The value of `tensor` in the current region.
  virtual Tensor Get(const Tensor& tensor) = 0;

  // Recomputation waits for this cotangent, so that the compiler cannot start it early and keep the
  // result alive.
  void set_pace(const Tensor& cotangent) { pace_ = cotangent; }

 protected:
  Forward() = default;
  Forward(const Forward&) = default;
  Forward& operator=(const Forward&) = default;
  Tensor pace_;
};

// Copies nodes of the forward program into the current region, with their inputs looked up by a
// Forward. A node is copied once.
class Cloner {
 public:
  // `lookup` gives the current region's value for an input that is not a copied node's result.
  using Lookup = std::function<Tensor(const Tensor&)>;
  explicit Cloner(Lookup lookup) : lookup_(std::move(lookup)) {}

  // The copy of the tensor's node, made now unless it was made before.
  Tensor Clone(const Tensor& tensor);
  void Map(const Tensor& from, const Tensor& to) { values_[from] = to; }
  bool IsCopy(const Node* node) const { return copies_.contains(node); }

 private:
  std::unique_ptr<Region> CloneRegion(const Region& region, Region& parent);
  Tensor Inner(const Tensor& tensor);
  void AddMissingResults(const Node& node, Node& copy);

  Lookup lookup_;
  std::unordered_map<const Node*, Node*> nodes_;
  std::unordered_set<const Node*> copies_;
  std::unordered_map<Tensor, Tensor, TensorHash> values_;
};

// Whether a policy keeps a node's results for the backward pass. Cheap ops are computed again from
// their inputs even if the policy keeps everything.
bool Keeps(const Remat& remat, const Node& node);

// Forward values of the region that is being differentiated in place: available as they are, except
// inside Checkpoint() scopes whose policy does not keep them.
class SameRegionForward : public Forward {
 public:
  SameRegionForward();
  Tensor Get(const Tensor& tensor) override;

 private:
  Tensor Guarded(const Tensor& value);

  Cloner cloner_;
  std::unordered_map<Tensor, Tensor, TensorHash> guarded_;
};

// Forward values of a region whose nodes are all computed again; `outer` gives what it captures.
class RecomputeForward : public Forward {
 public:
  RecomputeForward(const Region& region, Forward& outer, Region& outer_region);
  Tensor Get(const Tensor& tensor) override;
  // Gives a parameter of the region its value.
  void Map(const Tensor& parameter, const Tensor& value) { cloner_.Map(parameter, value); }

 private:
  const Region& region_;
  Forward& outer_;
  Region& outer_region_;
  Cloner cloner_;
};

// Forward values of a scan's body, for the body of its reverse scan: slices of the same xs, values
// saved as further stacked results of the forward scan, or computed again.
class ScanForward : public Forward {
 public:
  ScanForward(Node& scan, Region& reverse_body, Forward& outer, Region& outer_region);
  Tensor Get(const Tensor& tensor) override;

  // The stacked operands of the reverse scan that Get() asked for, one for each parameter it added.
  const std::vector<Tensor>& stacked() const { return stacked_; }

 private:
  Tensor Lookup(const Tensor& tensor);
  Tensor Outer(const Tensor& tensor);
  Tensor Saved(const Tensor& tensor);
  Tensor AddStacked(const Tensor& stacked, Shape slice);
  bool IsInvariant(const Node& node);
  bool IsKept(const Node& node) const;

  Node& scan_;
  Region& body_;
  Region& reverse_body_;
  Forward& outer_;
  Region& outer_region_;
  Cloner cloner_;
  std::vector<Tensor> stacked_;
  std::unordered_map<Tensor, Tensor, TensorHash> known_;
  std::unordered_map<const Node*, bool> invariant_;
};

}  // namespace sophia
