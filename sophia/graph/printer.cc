#include "sophia/graph/printer.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/ops/special_ops.h"

namespace sophia {
namespace {

std::string Types(const std::vector<Shape>& shapes) {
  std::vector<std::string> texts;
  for (const Shape& shape : shapes) texts.push_back(RegionPrinter::Type(shape));
  return fmt::format("{}", fmt::join(texts, ", "));
}

std::vector<Shape> Shapes(const std::vector<Tensor>& tensors) {
  std::vector<Shape> shapes;
  for (const Tensor& tensor : tensors) shapes.push_back(tensor.shape());
  return shapes;
}

std::string ArgumentAttributes(const Graph& graph, size_t index) {
  const InputOptions& input = graph.inputs()[index];
  std::vector<std::string> attributes;
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    if (graph.outputs()[i].aliases_input == static_cast<int>(index)) {
      attributes.push_back(fmt::format("tf.aliasing_output = {} : i32", i));
    }
  }
  if (!input.memory_kind.empty()) {
    attributes.push_back(fmt::format("mhlo.memory_kind = \"{}\"", input.memory_kind));
  }
  if (input.sharding) attributes.push_back("sdy.sharding = " + ShardingText(*input.sharding));
  return attributes.empty() ? "" : fmt::format(" {{{}}}", fmt::join(attributes, ", "));
}

std::string ResultAttributes(const OutputOptions& output) {
  std::vector<std::string> attributes;
  if (!output.memory_kind.empty()) {
    attributes.push_back(fmt::format("mhlo.memory_kind = \"{}\"", output.memory_kind));
  }
  if (output.sharding) attributes.push_back("sdy.sharding = " + ShardingText(*output.sharding));
  return attributes.empty() ? "" : fmt::format(" {{{}}}", fmt::join(attributes, ", "));
}

// Marks what a node's live results need; scans and identities need only part of their inputs.
void PushNeeds(const Tensor& tensor, std::vector<Tensor>& work) {
  const Node& node = *tensor.node();
  const Tensor aliased = AliasedValue(tensor);
  if (!(aliased == tensor)) {
    work.push_back(aliased);
    return;
  }
  if (node.op != &kScan) {
    work.insert(work.end(), node.inputs.begin(), node.inputs.end());
    for (const auto& region : node.regions) {
      work.insert(work.end(), region->results.begin(), region->results.end());
    }
    return;
  }
  const auto carries = static_cast<size_t>(node.attrs.Get<int64_t>("carries"));
  const Region& body = *node.regions[0];
  for (size_t i = 0; i < carries; ++i) {
    work.push_back(node.inputs[i]);
    work.push_back(body.results[i]);
  }
  work.push_back(body.results[static_cast<size_t>(tensor.index())]);
}

}  // namespace

LiveSet LiveTensors(const Region& region) {
  LiveSet live;
  std::vector<Tensor> work = region.results;
  while (!work.empty()) {
    const Tensor tensor = work.back();
    work.pop_back();
    if (!live.insert(tensor).second) continue;
    const Node& node = *tensor.node();
    PushNeeds(tensor, work);
    // A live slice of a scan's xs keeps the stacked operand alive.
    const Node* owner = node.parent->owner;
    if (node.op != &kParameter || owner == nullptr || owner->op != &kScan) continue;
    for (size_t i = 0; i < node.parent->parameters.size(); ++i) {
      if (node.parent->parameters[i].get() == &node) work.push_back(owner->inputs[i]);
    }
  }
  return live;
}

std::string RegionPrinter::Type(const Shape& shape) {
  std::string text = "tensor<";
  for (const int64_t dim : shape.dims) text += fmt::format("{}x", dim);
  return text + std::string(Info(shape.dtype).mlir) + ">";
}

std::string RegionPrinter::Ref(const Tensor& tensor) const {
  const auto it = names_.find(tensor);
  SOPHIA_CHECK(it != names_.end(), "a value of {} is used before it is printed",
               tensor.node()->op->name);
  return it->second;
}

std::string RegionPrinter::Refs(const std::vector<Tensor>& tensors) const {
  std::vector<std::string> refs;
  for (const Tensor& tensor : tensors) refs.push_back(Ref(tensor));
  return fmt::format("{}", fmt::join(refs, ", "));
}

std::string RegionPrinter::Define(const Node& node) {
  const std::string name = FreshName();
  const size_t count = node.results.size();
  for (size_t i = 0; i < count; ++i) {
    Bind({const_cast<Node*>(&node), static_cast<int>(i)},
         count == 1 ? name : fmt::format("{}#{}", name, i));
  }
  return count == 1 ? name : fmt::format("{}:{}", name, count);
}

void RegionPrinter::Alias(const Tensor& result, const Tensor& value) {
  if (names_.contains(value)) Bind(result, Ref(value));
}

std::string RegionPrinter::FreshName() { return fmt::format("%{}", next_name_++); }

std::string RegionPrinter::Scalar(DType dtype, double value) {
  Graph graph;
  const Tracing tracing(graph);
  const Node& constant = *Full({dtype, {}}, value).node();
  std::string name = FreshName();
  Line(fmt::format("{} = \"stablehlo.constant\"() {{{}}} : () -> {}", name,
                   constant.op->attributes(constant), Type({dtype, {}})));
  return name;
}

void RegionPrinter::Line(std::string_view text) {
  const std::string indent(static_cast<size_t>(depth_) * 2, ' ');
  size_t start = 0;
  while (start <= text.size()) {
    const size_t end = std::min(text.find('\n', start), text.size());
    text_ += indent;
    text_ += text.substr(start, end - start);
    text_ += '\n';
    start = end + 1;
  }
}

void RegionPrinter::PrintGeneric(const Node& node) {
  const std::string refs = Refs(node.inputs);
  const std::string attributes =
      node.op->attributes == nullptr ? "" : fmt::format(" {{{}}}", node.op->attributes(node));
  const std::string results =
      node.results.size() == 1 ? Type(node.results[0]) : fmt::format("({})", Types(node.results));
  const std::string location =
      node.attrs.Has("location")
          ? fmt::format(" loc(\"{}\"({}))", node.attrs.Get<std::string>("location"),
                        node.loc.Mlir())
          : "";
  Line(fmt::format("{} = \"{}\"({}){} : ({}) -> {}{}", Define(node), node.op->mlir, refs,
                   attributes, Types(Shapes(node.inputs)), results, location));
}

void RegionPrinter::PrintNodes(const Region& region) {
  for (const auto& node : region.nodes) {
    bool is_live = false;
    for (int i = 0; i < static_cast<int>(node->results.size()); ++i) {
      is_live = is_live || live_.contains(Tensor(node.get(), i));
    }
    if (!is_live) continue;
    if (node->op->print != nullptr) {
      node->op->print(*node, *this);
    } else {
      PrintGeneric(*node);
    }
  }
}

void RegionPrinter::PrintReturn(std::string_view op, const std::vector<Tensor>& values) {
  Line(fmt::format("\"{}\"({}) : ({}) -> ()", op, Refs(values), Types(Shapes(values))));
}

std::vector<std::string> RegionPrinter::OpenBlock(const std::vector<Shape>& shapes) {
  std::vector<std::string> names;
  std::vector<std::string> arguments;
  for (const Shape& shape : shapes) {
    names.push_back(FreshName());
    arguments.push_back(fmt::format("{}: {}", names.back(), Type(shape)));
  }
  Line(fmt::format("^bb0({}):", fmt::join(arguments, ", ")));
  ++depth_;
  return names;
}

void RegionPrinter::PrintCase(const Node& node) {
  const std::string index = Ref(node.inputs[0]);
  const std::string name = Define(node);
  Line(fmt::format("{} = \"stablehlo.case\"({}) ({{", name, index));
  for (size_t i = 0; i < node.regions.size(); ++i) {
    if (i > 0) Line("}, {");
    ++depth_;
    PrintNodes(*node.regions[i]);
    PrintReturn("stablehlo.return", node.regions[i]->results);
    --depth_;
  }
  Line(fmt::format("}}) : (tensor<i32>) -> ({})", Types(node.results)));
}

// Values that the regions use from outside are carried through the loop unchanged.
void RegionPrinter::PrintWhile(const Node& node) {
  std::vector<Tensor> state = node.inputs;
  for (const auto& region : node.regions) {
    for (const Tensor& capture : Captures(*region)) {
      if (live_.contains(capture) &&
          std::find(state.begin() + static_cast<int64_t>(node.inputs.size()), state.end(),
                    capture) == state.end()) {
        state.push_back(capture);
      }
    }
  }
  const std::vector<Shape> shapes = Shapes(state);
  const auto outer = names_;
  const std::string refs = Refs(state);
  const std::string name = FreshName();
  Line(fmt::format("{}:{} = \"stablehlo.while\"({}) ({{", name, state.size(), refs));
  for (size_t i = 0; i < 2; ++i) {
    if (i > 0) Line("}, {");
    const Region& region = *node.regions[i];
    const std::vector<std::string> arguments = OpenBlock(shapes);
    for (size_t j = 0; j < state.size(); ++j) {
      const bool own = j < node.inputs.size();
      Bind(own ? Tensor(region.parameters[j].get(), 0) : state[j], arguments[j]);
    }
    PrintNodes(region);
    if (i == 0) {
      PrintReturn("stablehlo.return", region.results);
    } else {
      std::vector<Tensor> results = region.results;
      results.insert(results.end(), state.begin() + static_cast<int64_t>(node.inputs.size()),
                     state.end());
      PrintReturn("stablehlo.return", results);
    }
    --depth_;
    names_ = outer;
  }
  Line(fmt::format("}}) : ({}) -> ({})", Types(shapes), Types(shapes)));
  for (size_t i = 0; i < node.results.size(); ++i) {
    Bind({const_cast<Node*>(&node), static_cast<int>(i)}, fmt::format("{}#{}", name, i));
  }
}

std::string ToStableHlo(const Graph& graph, std::string_view module_name) {
  std::string text = fmt::format("module @{} {{\n", module_name);
  if (!graph.mesh().empty()) {
    std::vector<std::string> axes;
    for (const auto& [name, size] : graph.mesh()) {
      axes.push_back(fmt::format("\"{}\"={}", name, size));
    }
    text += fmt::format("  sdy.mesh @mesh = <[{}]>\n", fmt::join(axes, ", "));
  }
  const auto print_function = [&](const Region& region, const std::string& header) {
    const LiveSet live = LiveTensors(region);
    RegionPrinter printer(live, 2);
    for (size_t i = 0; i < region.parameters.size(); ++i) {
      printer.Bind({region.parameters[i].get(), 0}, fmt::format("%arg{}", i));
    }
    printer.PrintNodes(region);
    printer.PrintReturn("func.return", region.results);
    text += fmt::format("  {} {{\n{}  }}\n", header, printer.TakeText());
  };
  const auto header = [&](const Region& region, std::string_view name, bool is_main) {
    std::vector<std::string> arguments;
    for (size_t i = 0; i < region.parameters.size(); ++i) {
      arguments.push_back(fmt::format("%arg{}: {}{}", i,
                                      RegionPrinter::Type(region.parameters[i]->results[0]),
                                      is_main ? ArgumentAttributes(graph, i) : ""));
    }
    std::vector<std::string> results;
    for (size_t i = 0; i < region.results.size(); ++i) {
      results.push_back(RegionPrinter::Type(region.results[i].shape()) +
                        (is_main ? ResultAttributes(graph.outputs()[i]) : ""));
    }
    return fmt::format("func.func {} @{}({}) -> ({})", is_main ? "public" : "private", name,
                       fmt::join(arguments, ", "), fmt::join(results, ", "));
  };
  print_function(graph.main(), header(graph.main(), "main", true));
  for (const auto& [name, body] : graph.functions()) {
    print_function(*body, header(*body, name, false));
  }
  return text + "}\n";
}

}  // namespace sophia
