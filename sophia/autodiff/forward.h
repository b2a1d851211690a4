#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "sophia/graph/graph.h"

namespace sophia {

// Copies nodes of the forward program into the current region. A node is copied once.
class Cloner {
 public:
  // `lookup` gives the current region's value for an input of a node that is copied.
  using Lookup = std::function<Tensor(const Tensor&)>;
  explicit Cloner(Lookup lookup) : lookup_(std::move(lookup)) {}

  // The copy of the tensor's node, made now unless it was made before.
  Tensor Clone(const Tensor& tensor);
  void Map(const Tensor& from, const Tensor& to) { values_[from] = to; }
  bool IsCopy(const Node* node) const { return copies_.contains(node); }

 private:
  std::unique_ptr<Region> CloneRegion(const Region& region, Region& parent);
  void CloneInner(const Node& node, Region& parent);
  Tensor Inner(const Tensor& tensor);
  void AddMissingResults(const Node& node, Node& copy);

  Lookup lookup_;
  std::unordered_map<const Node*, Node*> nodes_;
  std::unordered_set<const Node*> copies_;
  std::unordered_map<Tensor, Tensor, TensorHash> values_;
};

// Makes values of the forward program available where the backward program is being traced: as they
// are, saved, or computed again. As with jax.checkpoint, what a Checkpoint() scope returns or takes
// from outside is there for nodes outside; of its other values there is what its policy keeps.
class Forward {
 public:
  virtual ~Forward() = default;
  Forward(const Forward&) = delete;
  Forward& operator=(const Forward&) = delete;

  // The value of `tensor` in the current region, for a node that was traced in scope `asker`.
  Tensor Get(const Tensor& tensor, const CheckpointScope* asker);

  // Recomputation waits for this cotangent, so that the compiler cannot start it early and keep the
  // result alive.
  void set_pace(const Tensor& cotangent) { pace_ = cotangent; }

 protected:
  // Scopes that hold `base` are none of this pass's business.
  explicit Forward(const CheckpointScope* base) : base_(base) {}

  // The value of a tensor that no scope wants computed again.
  virtual Tensor Available(const Tensor& tensor) = 0;
  // The copies made because `scope`, or the region's own policy (nullptr), does not keep them.
  Cloner& Copies(const CheckpointScope* scope);

 private:
  // Each scope has its own copies: those of an outer one must not outlive an inner one's.
  struct Level {
    Cloner cloner;
    std::unordered_map<Tensor, Tensor, TensorHash> guarded = {};
  };
  Tensor Guarded(const Tensor& value, Level& level);

  const CheckpointScope* base_;
  Tensor pace_;
  std::unordered_map<const CheckpointScope*, std::unique_ptr<Level>> levels_;
};

// Forward values of the region that is being differentiated in place.
class SameRegionForward : public Forward {
 public:
  explicit SameRegionForward(const CheckpointScope* base) : Forward(base) {}

 protected:
  Tensor Available(const Tensor& tensor) override { return tensor; }
};

// Where a region's node stands while it is differentiated: what gives the values that the region
// takes from outside.
struct OuterForward {
  Forward& forward;
  Region& region;                // where the node's reverse is built
  const CheckpointScope* scope;  // the node's

  Tensor Get(const Tensor& tensor) const;
};

// Forward values of a region whose nodes are all computed again.
class RecomputeForward : public Forward {
 public:
  RecomputeForward(const Region& region, OuterForward outer)
      : Forward(nullptr), region_(region), outer_(outer) {}
  // Gives a parameter of the region its value.
  void Map(const Tensor& parameter, const Tensor& value) { Copies(nullptr).Map(parameter, value); }

 protected:
  Tensor Available(const Tensor& tensor) override;

 private:
  const Region& region_;
  OuterForward outer_;
};

// Forward values of a scan's body, for the body of its reverse scan: slices of the same xs, values
// saved as further stacked results of the forward scan, or computed again.
class ScanForward : public Forward {
 public:
  ScanForward(Node& scan, Region& reverse_body, OuterForward outer);

  // The stacked operands of the reverse scan that were asked for, one for each parameter added.
  const std::vector<Tensor>& stacked() const { return stacked_; }

  // A saved carry that lies in the host's memory, [length, ...], and the parameter of the reverse
  // body that stands for its slice on the device: to be a carry, fetched an iteration ahead.
  struct Prefetched {
    Tensor stacked;
    Tensor slice;
  };
  const std::vector<Prefetched>& prefetched() const { return prefetched_; }

 protected:
  Tensor Available(const Tensor& tensor) override;

 private:
  Tensor Lookup(const Tensor& tensor);
  Tensor Saved(const Tensor& tensor);
  Tensor AddStacked(const Tensor& stacked, Shape slice);
  bool IsInvariant(const Node& node);
  // The index of a parameter of the body.
  size_t IndexOf(const Node& parameter) const;
  bool IsInvariantParameter(size_t index) const;

  Node& scan_;
  Region& body_;
  Region& reverse_body_;
  OuterForward outer_;
  std::vector<Tensor> stacked_;
  std::vector<Prefetched> prefetched_;
  std::unordered_map<Tensor, Tensor, TensorHash> known_;
  std::unordered_map<const Node*, bool> invariant_;
};

}  // namespace sophia
