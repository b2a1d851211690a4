// Reverse rules of scan, case and call.
#include <algorithm>

#include "sophia/autodiff/sweep.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/graph/ops/special_ops.h"

namespace sophia {
namespace {

Shape SliceShape(const Shape& stacked) {
  return {stacked.dtype, Dims(stacked.dims.begin() + 1, stacked.dims.end())};
}

std::vector<Tensor> ActiveCaptures(const Region& region, const TensorSet& active) {
  std::vector<Tensor> captures;
  for (const Tensor& capture : Captures(region)) {
    if (active.contains(capture)) captures.push_back(capture);
  }
  return captures;
}

OuterForward OuterOf(Sweep& sweep, const Node& node) {
  return {sweep.forward(), Graph::Current().current_region(), node.checkpoint};
}

// Which values of a scan get a cotangent.
struct ScanParts {
  std::vector<size_t> carries;  // indices of carries
  std::vector<size_t> ys;       // indices of results that have a cotangent
  std::vector<size_t> xs;       // indices of inputs
  std::vector<Tensor> captures;
};

ScanParts PartsOf(const Sweep& sweep, Node& scan) {
  ScanParts parts;
  const Region& body = *scan.regions[0];
  const auto carries = static_cast<size_t>(scan.attrs.Get<int64_t>("carries"));
  for (size_t i = 0; i < body.parameters.size(); ++i) {
    if (!sweep.IsActive({body.parameters[i].get(), 0})) continue;
    (i < carries ? parts.carries : parts.xs).push_back(i);
  }
  for (size_t i = carries; i < scan.results.size(); ++i) {
    if (sweep.Has({&scan, static_cast<int>(i)})) parts.ys.push_back(i);
  }
  parts.captures = ActiveCaptures(body, sweep.active());
  return parts;
}

// The slice at `index` of a stack in the host's memory, on the device.
Tensor Fetch(const Tensor& stacked, const Tensor& index) {
  std::vector<Tensor> starts(static_cast<size_t>(stacked.rank()), Full({DType::kS32, {}}, 0));
  starts[0] = index;
  Dims sizes = stacked.dims();
  sizes[0] = 1;
  const Tensor slice = Place(DynamicSlice(stacked, starts, sizes), Placement::kDevice);
  return Reshape(slice, SliceShape(stacked.shape()).dims);
}

// Makes carries of what the reverse body of `scan` wants prefetched: the first is fetched before
// the reverse scan, each iteration fetches for the next.
void CarryPrefetched(const Node& scan, const ScanForward& forward, Region& reverse,
                     std::vector<Tensor>& init, std::vector<Tensor>& xs) {
  if (forward.prefetched().empty()) return;
  const auto length = scan.attrs.Get<int64_t>("length");
  const bool runs_up = scan.attrs.Get<bool>("reverse");
  const auto constant = [](int64_t value) { return Full({DType::kS32, {}}, value); };
  xs.push_back(Iota({DType::kS32, {length}}, 0));
  const Tensor index = AddParameter(reverse, {DType::kS32, {}});
  for (const auto& [stacked, slice] : forward.prefetched()) {
    const auto own =
        std::ranges::find(reverse.parameters, slice.node(), &std::unique_ptr<Node>::get);
    std::unique_ptr<Node> parameter = std::move(*own);
    reverse.parameters.erase(own);
    reverse.parameters.insert(reverse.parameters.begin() + static_cast<int64_t>(init.size()),
                              std::move(parameter));
    init.push_back(Fetch(stacked, constant(runs_up ? 0 : length - 1)));
    const RegionScope scope(reverse);
    reverse.results.push_back(Fetch(stacked, runs_up
                                                 ? Min(index + constant(1), constant(length - 1))
                                                 : Max(index - constant(1), constant(0))));
  }
}

}  // namespace

// The reverse scan carries the cotangents of the carries and the sums of those of captured values,
// takes the cotangents of the ys as xs, and stacks those of the xs.
void ScanVjp(Sweep& sweep, Node& scan) {
  const ScanParts parts = PartsOf(sweep, scan);
  Region& body = *scan.regions[0];
  const std::vector<Node*> nodes = NodesFrom(body);
  const OuterForward outer = OuterOf(sweep, scan);

  std::vector<Tensor> init;
  for (const size_t i : parts.carries) {
    init.push_back(sweep.Cotangent({&scan, static_cast<int>(i)}));
  }
  for (const Tensor& capture : parts.captures) init.push_back(ZerosLike(capture));
  std::vector<Tensor> xs;
  for (const size_t i : parts.ys) xs.push_back(sweep.Cotangent({&scan, static_cast<int>(i)}));

  std::vector<std::unique_ptr<Region>> regions;
  regions.push_back(NewRegion());
  Region& reverse = *regions[0];
  std::vector<Tensor> carry;
  for (const Tensor& value : init) carry.push_back(AddParameter(reverse, value.shape()));
  std::vector<Tensor> slices;
  for (const Tensor& x : xs) slices.push_back(AddParameter(reverse, SliceShape(x.shape())));

  ScanForward forward(scan, reverse, outer);
  Sweep inner(forward, sweep.active());
  {
    const RegionScope scope(reverse);
    for (size_t i = 0; i < parts.carries.size(); ++i) {
      inner.Add(body.results[parts.carries[i]], carry[i]);
    }
    for (size_t i = 0; i < parts.ys.size(); ++i) {
      inner.Add(body.results[parts.ys[i]], slices[i]);
    }
    inner.Run(nodes);
    for (const size_t i : parts.carries) {
      reverse.results.push_back(inner.Cotangent({body.parameters[i].get(), 0}));
    }
    for (size_t i = 0; i < parts.captures.size(); ++i) {
      const Tensor& sum = carry[parts.carries.size() + i];
      const Tensor& capture = parts.captures[i];
      reverse.results.push_back(inner.Has(capture) ? sum + inner.Cotangent(capture) : sum);
    }
  }
  xs.insert(xs.end(), forward.stacked().begin(), forward.stacked().end());
  CarryPrefetched(scan, forward, reverse, init, xs);
  {
    const RegionScope scope(reverse);
    for (const size_t i : parts.xs) {
      reverse.results.push_back(inner.Cotangent({body.parameters[i].get(), 0}));
    }
  }

  std::vector<Tensor> inputs = init;
  inputs.insert(inputs.end(), xs.begin(), xs.end());
  Node* node = AddNode(kScan, std::move(inputs),
                       {{"carries", static_cast<int64_t>(init.size())},
                        {"length", scan.attrs.Get<int64_t>("length")},
                        {"reverse", !scan.attrs.Get<bool>("reverse")},
                        {"remat", Remat::Everything()}},
                       scan.loc, std::move(regions));
  int next = 0;
  for (const size_t i : parts.carries) sweep.Add(scan.inputs[i], {node, next++});
  for (const Tensor& capture : parts.captures) sweep.Add(capture, {node, next++});
  next += static_cast<int>(forward.prefetched().size());
  for (const size_t i : parts.xs) sweep.Add(scan.inputs[i], {node, next++});
}

// Each branch of the reverse case computes its forward branch again.
void CaseVjp(Sweep& sweep, Node& node) {
  const OuterForward outer = OuterOf(sweep, node);
  std::vector<Tensor> captures;
  TensorSet seen;
  for (const auto& branch : node.regions) {
    for (const Tensor& capture : ActiveCaptures(*branch, sweep.active())) {
      if (seen.insert(capture).second) captures.push_back(capture);
    }
  }
  if (captures.empty()) return;
  std::vector<Tensor> cotangents;
  for (int i = 0; i < static_cast<int>(node.results.size()); ++i) {
    cotangents.push_back(sweep.Cotangent({&node, i}));
  }
  const Tensor index = outer.Get(node.inputs[0]);
  std::vector<Branch> branches;
  for (const auto& branch : node.regions) {
    branches.emplace_back([&, region = branch.get()] {
      RecomputeForward forward(*region, outer);
      Sweep inner(forward, sweep.active());
      for (size_t i = 0; i < cotangents.size(); ++i) {
        inner.Add(region->results[i], cotangents[i]);
      }
      inner.Run(NodesFrom(*region));
      std::vector<Tensor> gradients;
      for (const Tensor& capture : captures) gradients.push_back(inner.Cotangent(capture));
      return gradients;
    });
  }
  const std::vector<Tensor> gradients = Case(index, branches, node.loc);
  for (size_t i = 0; i < captures.size(); ++i) sweep.Add(captures[i], gradients[i]);
}

// The callee is computed again in place.
void CallVjp(Sweep& sweep, Node& call) {
  const OuterForward outer = OuterOf(sweep, call);
  const Region& body = *Graph::Current().FindFunction(call.attrs.Get<std::string>("name"));
  RecomputeForward forward(body, outer);
  TensorSet active;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    const Tensor parameter(body.parameters[i].get(), 0);
    forward.Map(parameter, outer.Get(call.inputs[i]));
    if (sweep.IsActive(call.inputs[i])) active.insert(parameter);
  }
  const std::vector<Node*> nodes = NodesFrom(body);
  PropagateActivity(nodes, active);
  Sweep inner(forward, active);
  for (int i = 0; i < static_cast<int>(call.results.size()); ++i) {
    inner.Add(body.results[static_cast<size_t>(i)], sweep.Cotangent({&call, i}));
  }
  inner.Run(nodes);
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    sweep.Add(call.inputs[i], inner.Cotangent({body.parameters[i].get(), 0}));
  }
}

}  // namespace sophia
