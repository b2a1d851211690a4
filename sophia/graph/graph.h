#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sophia/graph/node.h"
#include "sophia/graph/op.h"

namespace sophia {

// How a tensor is laid out over the mesh: for each dimension the mesh axes that split it.
struct Sharding {
  std::vector<std::vector<std::string>> axes;

  bool operator==(const Sharding&) const = default;
};

// Named mesh axes and their sizes, e.g. {{"data", 2}, {"model", 4}}.
using Mesh = std::vector<std::pair<std::string, int64_t>>;

struct InputOptions {
  std::string name;
  std::optional<Sharding> sharding = std::nullopt;
  std::string memory_kind = {};  // e.g. "pinned_host"; empty for the device's default
};

struct OutputOptions {
  std::string name;
  std::optional<Sharding> sharding = std::nullopt;
  std::string memory_kind = {};
  // The index of the input whose buffer this output takes over (input-output aliasing).
  std::optional<int> aliases_input = std::nullopt;
};

// A traced program. While a Graph is active (see Tracing), ops append their nodes to its innermost
// open region.
class Graph {
 public:
  Graph();
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  Tensor AddInput(Shape shape, InputOptions options);
  void AddOutput(const Tensor& value, OutputOptions options);

  void set_mesh(Mesh mesh) { mesh_ = std::move(mesh); }
  const Mesh& mesh() const { return mesh_; }
  // No axis splits any dimension; nullopt without a mesh.
  std::optional<Sharding> Replicated(const Shape& shape) const;
  Region& main() { return *main_; }
  const Region& main() const { return *main_; }
  const std::vector<InputOptions>& inputs() const { return inputs_; }
  const std::vector<OutputOptions>& outputs() const { return outputs_; }

  // The graph being traced on this thread. A SOPHIA_CHECK fails when there is none.
  static Graph& Current();
  Region& current_region() { return *region_; }

  // Functions called by name; kept so that equal calls share one body.
  Region* FindFunction(const std::string& name);
  Region* AddFunction(std::string name, std::unique_ptr<Region> body);
  const std::vector<std::pair<std::string, std::unique_ptr<Region>>>& functions() const {
    return functions_;
  }

  const CheckpointScope* checkpoint() const { return checkpoint_; }
  const CheckpointScope* NewCheckpointScope(Remat remat);

 private:
  friend class Tracing;
  friend class RegionScope;
  friend class CheckpointGuard;
  friend Tensor AddParameter(Region& region, Shape shape, Loc loc);
  friend Node* AddNode(const OpDef& op, std::vector<Tensor> inputs, Attrs attrs, Loc loc,
                       std::vector<std::unique_ptr<Region>> regions);

  std::unique_ptr<Region> main_;
  Region* region_;
  std::vector<InputOptions> inputs_;
  std::vector<OutputOptions> outputs_;
  Mesh mesh_;
  std::vector<std::pair<std::string, std::unique_ptr<Region>>> functions_;
  std::deque<CheckpointScope> scopes_;
  const CheckpointScope* checkpoint_ = nullptr;
  int64_t next_id_ = 0;
};

// Makes `graph` the one that ops append to, for the lifetime of this object.
class Tracing {
 public:
  explicit Tracing(Graph& graph);
  ~Tracing();
  Tracing(const Tracing&) = delete;
  Tracing& operator=(const Tracing&) = delete;

 private:
  Graph* previous_;
};

// Makes `region` the current graph's innermost region, for the lifetime of this object.
class RegionScope {
 public:
  explicit RegionScope(Region& region);
  ~RegionScope();
  RegionScope(const RegionScope&) = delete;
  RegionScope& operator=(const RegionScope&) = delete;

 private:
  Graph& graph_;
  Region* previous_;
  const CheckpointScope* previous_checkpoint_;
};

// Marks nodes traced during its lifetime as belonging to `scope`.
class CheckpointGuard {
 public:
  explicit CheckpointGuard(const CheckpointScope* scope);
  ~CheckpointGuard();
  CheckpointGuard(const CheckpointGuard&) = delete;
  CheckpointGuard& operator=(const CheckpointGuard&) = delete;

 private:
  Graph& graph_;
  const CheckpointScope* previous_;
};

// A new region inside the current one.
std::unique_ptr<Region> NewRegion();

// Appends a parameter to a region.
Tensor AddParameter(Region& region, Shape shape, Loc loc = Loc::current());

// Applies the op's shape rule and appends the node to the current region. The building block of
// every op function. Throws Error on operands that do not fit.
Node* AddNode(const OpDef& op, std::vector<Tensor> inputs, Attrs attrs, Loc loc,
              std::vector<std::unique_ptr<Region>> regions = {});

extern const OpDef kParameter;

}  // namespace sophia
