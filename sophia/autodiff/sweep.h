#pragma once

#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sophia/autodiff/forward.h"
#include "sophia/graph/graph.h"

namespace sophia {

using TensorSet = std::unordered_set<Tensor, TensorHash>;

// Float tensors that depend on a member of `active`, in the regions of `nodes` too, are added to
// it. Only these get a cotangent.
void PropagateActivity(const std::vector<Node*>& nodes, TensorSet& active);

// The nodes of a region from index `first`.
std::vector<Node*> NodesFrom(const Region& region, size_t first = 0);

// One reverse pass over a list of nodes: from the cotangents of results to those of inputs. Builds
// nodes in the current region.
class Sweep {
 public:
  Sweep(Forward& forward, const TensorSet& active) : forward_(forward), active_(active) {}

  bool IsActive(const Tensor& tensor) const { return active_.contains(tensor); }
  // Adds to a tensor's cotangent; inactive tensors have none.
  void Add(const Tensor& tensor, const Tensor& cotangent);
  // Runs the nodes' rules, last node first.
  void Run(const std::vector<Node*>& nodes);

  bool Has(const Tensor& tensor) const { return cotangents_.contains(tensor); }
  // The cotangent, or zeros.
  Tensor Cotangent(const Tensor& tensor) const;

  Forward& forward() { return forward_; }
  const TensorSet& active() const { return active_; }

 private:
  void RunNode(Node& node);

  Forward& forward_;
  const TensorSet& active_;
  std::unordered_map<Tensor, Tensor, TensorHash> cotangents_;
};

// The rules of ops that hold regions.
void ScanVjp(Sweep& sweep, Node& scan);
void CaseVjp(Sweep& sweep, Node& node);
void CallVjp(Sweep& sweep, Node& call);

}  // namespace sophia
