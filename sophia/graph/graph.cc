#include "sophia/graph/graph.h"

#include <algorithm>
#include <unordered_set>

namespace sophia {
namespace {

thread_local Graph* current_graph = nullptr;

}  // namespace

std::string Loc::Mlir() const {
  const std::string_view path = file_;
  return fmt::format("\"{}\":{}:0", path.substr(path.rfind('/') + 1), line_);
}

const Shape& Tensor::shape() const {
  SOPHIA_CHECK(defined(), "shape of an undefined tensor");
  return node_->results[static_cast<size_t>(index_)];
}

int64_t Tensor::dim(int64_t axis) const {
  const int64_t index = axis < 0 ? axis + rank() : axis;
  SOPHIA_CHECK(index >= 0 && index < rank(), "axis {} of {}", axis, ToString(shape()));
  return dims()[static_cast<size_t>(index)];
}

bool IsWithin(const Region* region, const Region* ancestor) {
  while (region != nullptr && region != ancestor) region = region->parent;
  return region == ancestor;
}

std::vector<Tensor> Captures(const Region& region) {
  std::vector<Tensor> captures;
  std::unordered_set<Tensor, TensorHash> seen;
  const auto use = [&](const Tensor& tensor) {
    if (IsWithin(tensor.node()->parent, &region)) return;
    if (seen.insert(tensor).second) captures.push_back(tensor);
  };
  const std::function<void(const Region&)> visit = [&](const Region& inner) {
    for (const auto& node : inner.nodes) {
      for (const Tensor& input : node->inputs) use(input);
      for (const auto& nested : node->regions) visit(*nested);
    }
    for (const Tensor& result : inner.results) use(result);
  };
  visit(region);
  return captures;
}

void ShapeArgs::FailText(const std::string& message) const {
  throw Error(fmt::format("{}:{}", loc.file_name(), loc.line()),
              fmt::format("{}: {}", op, message));
}

Graph::Graph() : main_(std::make_unique<Region>()), region_(main_.get()) {}
Graph::~Graph() = default;

Graph& Graph::Current() {
  SOPHIA_CHECK(current_graph != nullptr, "no graph is being traced");
  return *current_graph;
}

Tensor Graph::AddInput(Shape shape, InputOptions options) {
  inputs_.push_back(std::move(options));
  const Tracing tracing(*this);
  return AddParameter(*main_, std::move(shape));
}

std::optional<Sharding> Graph::Replicated(const Shape& shape) const {
  if (mesh_.empty()) return std::nullopt;
  return Sharding{.axes = std::vector<std::vector<std::string>>(shape.dims.size())};
}

void Graph::AddOutput(const Tensor& value, OutputOptions options) {
  SOPHIA_CHECK(value.defined() && value.node()->parent == main_.get());
  main_->results.push_back(value);
  outputs_.push_back(std::move(options));
}

Region* Graph::FindFunction(const std::string& name) {
  for (const auto& [key, body] : functions_) {
    if (key == name) return body.get();
  }
  return nullptr;
}

Region* Graph::AddFunction(std::string name, std::unique_ptr<Region> body) {
  functions_.emplace_back(std::move(name), std::move(body));
  return functions_.back().second.get();
}

const CheckpointScope* Graph::NewCheckpointScope(Remat remat) {
  scopes_.push_back({.remat = std::move(remat), .parent = checkpoint_});
  return &scopes_.back();
}

Tracing::Tracing(Graph& graph) : previous_(current_graph) { current_graph = &graph; }
Tracing::~Tracing() { current_graph = previous_; }

RegionScope::RegionScope(Region& region)
    : graph_(Graph::Current()),
      previous_(graph_.region_),
      previous_checkpoint_(graph_.checkpoint_) {
  graph_.region_ = &region;
  graph_.checkpoint_ = nullptr;
}
RegionScope::~RegionScope() {
  graph_.region_ = previous_;
  graph_.checkpoint_ = previous_checkpoint_;
}

CheckpointGuard::CheckpointGuard(const CheckpointScope* scope)
    : graph_(Graph::Current()), previous_(graph_.checkpoint_) {
  graph_.checkpoint_ = scope;
}
CheckpointGuard::~CheckpointGuard() { graph_.checkpoint_ = previous_; }

std::unique_ptr<Region> NewRegion() {
  auto region = std::make_unique<Region>();
  region->parent = &Graph::Current().current_region();
  return region;
}

Tensor AddParameter(Region& region, Shape shape, Loc loc) {
  auto node = std::make_unique<Node>();
  node->op = &kParameter;
  node->id = Graph::Current().next_id_++;
  node->results = {std::move(shape)};
  node->parent = &region;
  node->loc = loc;
  region.parameters.push_back(std::move(node));
  return {region.parameters.back().get(), 0};
}

Node* AddNode(const OpDef& op, std::vector<Tensor> inputs, Attrs attrs, Loc loc,
              std::vector<std::unique_ptr<Region>> regions) {
  Graph& graph = Graph::Current();
  Region& region = graph.current_region();
  std::vector<Shape> shapes;
  for (const Tensor& input : inputs) {
    SOPHIA_CHECK(input.defined(), "{} at {}:{} got an undefined operand", op.name, loc.file_name(),
                 loc.line());
    SOPHIA_CHECK(IsWithin(&region, input.node()->parent),
                 "{} at {}:{} uses a value of a region that is closed", op.name, loc.file_name(),
                 loc.line());
    shapes.push_back(input.shape());
  }
  auto node = std::make_unique<Node>();
  node->op = &op;
  node->id = graph.next_id_++;
  node->results = op.shape({op.name, std::move(shapes), attrs, regions, loc});
  node->inputs = std::move(inputs);
  node->attrs = std::move(attrs);
  node->regions = std::move(regions);
  for (const auto& owned : node->regions) owned->owner = node.get();
  node->parent = &region;
  node->checkpoint = graph.checkpoint_;
  node->loc = loc;
  region.nodes.push_back(std::move(node));
  return region.nodes.back().get();
}

namespace {

std::vector<Shape> NeverCalled(const ShapeArgs& args) { args.Fail("is made by AddParameter"); }

}  // namespace

// A region's parameter. It is part of the region's header, so it prints nothing itself.
constinit const OpDef kParameter = Op({
    .name = "parameter",
    .shape = NeverCalled,
    .gradient = OpDef::Gradient::kNone,
    .print = [](const Node&, RegionPrinter&) {},
    .samples = [] { return std::vector<OpSample>{}; },
});

}  // namespace sophia
