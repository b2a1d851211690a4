// Identities with a meaning for autodiff, the compiler or the partitioner, and custom calls.
#include "sophia/graph/ops/special_ops.h"

#include <fmt/ranges.h>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/op_lists.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/printer.h"

namespace sophia {
namespace {

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;

std::vector<Shape> SameShapes(const ShapeArgs& args) { return args.inputs; }

void PrintAlias(const Node& node, RegionPrinter& printer) {
  for (int i = 0; i < static_cast<int>(node.results.size()); ++i) {
    const Tensor result(const_cast<Node*>(&node), i);
    printer.Alias(result, AliasedValue(result));
  }
}

std::shared_ptr<const CustomVjpRule> RuleOf(const Node& node) {
  return node.attrs.Get<std::shared_ptr<const CustomVjpRule>>("rule");
}

void CustomVjpGradient(VjpContext& c) {
  const auto rule = RuleOf(c.node());
  std::vector<Tensor> residuals;
  for (size_t i = rule->primals + rule->outputs; i < c.node().inputs.size(); ++i) {
    residuals.push_back(c.In(static_cast<int>(i)));
  }
  std::vector<Tensor> cotangents;
  for (size_t i = 0; i < rule->outputs; ++i) cotangents.push_back(c.Grad(static_cast<int>(i)));
  std::vector<bool> wanted;
  for (size_t i = 0; i < rule->primals; ++i) wanted.push_back(c.Wants(static_cast<int>(i)));
  const std::vector<Tensor> grads = rule->backward(residuals, cotangents, wanted);
  if (grads.size() != rule->primals) {
    FailAt(c.node().loc, "custom_vjp: expected {} cotangents from the backward function, got {}",
           rule->primals, grads.size());
  }
  for (size_t i = 0; i < rule->primals; ++i) {
    if (grads[i].defined()) c.Add(static_cast<int>(i), grads[i]);
  }
}

std::string LayoutList(const std::vector<Dims>& layouts) {
  std::vector<std::string> texts;
  for (const Dims& layout : layouts) {
    texts.push_back(fmt::format("dense<{}> : tensor<{}xindex>", I64List(layout), layout.size()));
  }
  return fmt::format("[{}]", fmt::join(texts, ", "));
}

std::string AliasList(const std::vector<std::pair<int64_t, int64_t>>& aliases, size_t results) {
  std::vector<std::string> texts;
  for (const auto& [result, operand] : aliases) {
    texts.push_back(fmt::format(
        "#stablehlo.output_operand_alias<output_tuple_indices = [{}], operand_index = {}, "
        "operand_tuple_indices = []>",
        results == 1 ? "" : fmt::format("{}", result), operand));
  }
  return fmt::format("output_operand_aliases = [{}]", fmt::join(texts, ", "));
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) {
      quoted += fmt::format("\\{:02X}", static_cast<unsigned char>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

}  // namespace

constinit const OpDef kStopGradient = Op({
    .name = "stop_gradient",
    .shape = SameShapes,
    .gradient = OpDef::Gradient::kNone,
    .print = PrintAlias,
    .cheap = true,
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "stop_gradient",
               .inputs = {{DType::kF32, {3}}},
               .call = [](In in) { return Out{in[0] * StopGradient(in[0])}; },
               .stops_gradient = true}};
        },
});

constinit const OpDef kCheckpointName = Op({
    .name = "checkpoint_name",
    .shape = SameShapes,
    .vjp = [](VjpContext& c) { c.Add(0, c.Grad(0)); },
    .print = PrintAlias,
    .cheap = true,
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "checkpoint_name", .inputs = {{DType::kF32, {3}}}, .call = [](In in) {
                 return Out{CheckpointName(in[0] * in[0], "square")};
               }}};
        },
});

constinit const OpDef kCustomVjp = Op({
    .name = "custom_vjp",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      const auto rule = args.attrs.Get<std::shared_ptr<const CustomVjpRule>>("rule");
      const auto first = args.inputs.begin() + static_cast<int64_t>(rule->primals);
      return {first, first + static_cast<int64_t>(rule->outputs)};
    },
    .vjp = CustomVjpGradient,
    .print = PrintAlias,
    .cheap = true,
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "custom_vjp",
               .inputs = {{DType::kF32, {3}}, {DType::kF32, {3}}},
               .call = [](In in) {
                 return CustomVjp(
                     {in[0], in[1]},
                     [](In p) -> CustomVjpOutput {
                       return {.outputs = {Sin(p[0]) * p[1]}, .residuals = {p[0], p[1]}};
                     },
                     [](In r, In g) {
                       return Out{g[0] * (Cos(r[0]) * r[1]), g[0] * Sin(r[0])};
                     });
               }}};
        },
});

namespace {

constinit const OpDef kOptimizationBarrier = Op({
    .name = "optimization_barrier",
    .mlir = "stablehlo.optimization_barrier",
    .shape = SameShapes,
    .vjp =
        [](VjpContext& c) {
          for (int i = 0; i < static_cast<int>(c.node().inputs.size()); ++i) {
            if (c.Wants(i)) c.Add(i, c.Grad(i));
          }
        },
    .samples =
        [] {
          return std::vector<OpSample>{{.name = "optimization_barrier",
                                        .inputs = {{DType::kF32, {3}}, {DType::kF32, {2}}},
                                        .call = [](In in) {
                                          return OptimizationBarrier({in[0], in[1]});
                                        }}};
        },
});

Sharding ShardingOf(const Node& node) {
  return {.axes = node.attrs.Get<std::vector<std::vector<std::string>>>("axes")};
}

constinit const OpDef kShardingConstraint = Op({
    .name = "sharding_constraint",
    .mlir = "sdy.sharding_constraint",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      const size_t given = args.attrs.Get<std::vector<std::vector<std::string>>>("axes").size();
      if (given != args.inputs[0].dims.size()) {
        args.Fail("expected axes for {} dimensions, got {}", args.inputs[0].rank(), given);
      }
      return args.inputs;
    },
    .vjp = [](VjpContext& c) { c.Add(0, ShardingConstraint(c.Grad(0), ShardingOf(c.node()))); },
    .attributes = [](const Node& node) { return "sharding = " + ShardingText(ShardingOf(node)); },
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "sharding_constraint", .inputs = {{DType::kF32, {2, 3}}}, .call = [](In in) {
                 Graph::Current().set_mesh({{"data", 1}});
                 return Out{ShardingConstraint(in[0], {.axes = {{"data"}, {}}})};
               }}};
        },
});

// XLA turns the call into copies between memory spaces: xla/hlo/transforms/host_offload_legalize.h.
constinit const OpDef kPlace = Op({
    .name = "place",
    .mlir = "stablehlo.custom_call",
    .shape = SameShapes,
    .vjp = [](VjpContext& c) { c.Add(0, c.Grad(0)); },
    .attributes =
        [](const Node& node) {
          return fmt::format(
              "call_target_name = \"annotate_device_placement\", has_side_effect = true, "
              "mhlo.frontend_attributes = {{_xla_buffer_placement = \"{}\"}}",
              node.attrs.Get<bool>("on_host") ? "pinned_host" : "device");
        },
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "place", .inputs = {{DType::kF32, {2, 3}}}, .call = [](In in) {
                 const Tensor kept = Place(in[0] * in[0], Placement::kPinnedHost);
                 return Out{Place(kept, Placement::kDevice) * in[0]};
               }}};
        },
});

std::string CustomCallAttributes(const Node& node) {
  const Attrs& attrs = node.attrs;
  const bool typed = attrs.Get<bool>("typed_ffi");
  const auto& config = attrs.Get<std::string>("backend_config");
  std::string text = fmt::format(
      "call_target_name = {}, has_side_effect = {}, api_version = {} : i32",
      Quoted(attrs.Get<std::string>("target")), attrs.Get<bool>("has_side_effect"), typed ? 4 : 2);
  if (typed) {
    text += fmt::format(", backend_config = {}", config.empty() ? "{}" : config);
  } else {
    text += fmt::format(", backend_config = {}", Quoted(config));
  }
  if (attrs.Has("layouts")) text += ", " + attrs.Get<std::string>("layouts");
  if (attrs.Has("aliases")) text += ", " + attrs.Get<std::string>("aliases");
  return text;
}

constinit const OpDef kCustomCall = Op({
    .name = "custom_call",
    .mlir = "stablehlo.custom_call",
    .shape = [](const ShapeArgs& args) { return args.attrs.Get<std::vector<Shape>>("results"); },
    .gradient = OpDef::Gradient::kForbidden,
    .attributes = CustomCallAttributes,
    .samples =
        [] {
          // A target that every XLA backend knows.
          return std::vector<OpSample>{
              {.name = "custom_call",
               .inputs = {{DType::kF32, {2, 3}}},
               .call = [](In in) { return CustomCall("Sharding", {in[0]}, {in[0].shape()}); },
               .differentiable = false}};
        },
});

}  // namespace

Tensor AliasedValue(const Tensor& tensor) {
  const Node& node = *tensor.node();
  if (node.op == &kStopGradient || node.op == &kCheckpointName) return node.inputs[0];
  if (node.op == &kCustomVjp) {
    return node.inputs[RuleOf(node)->primals + static_cast<size_t>(tensor.index())];
  }
  return tensor;
}

Tensor StopGradient(const Tensor& x, Loc loc) { return Apply(kStopGradient, {x}, {}, loc); }

Tensor CheckpointName(const Tensor& x, std::string name, Loc loc) {
  return Apply(kCheckpointName, {x}, {{"name", std::move(name)}}, loc);
}

std::vector<Tensor> OptimizationBarrier(const std::vector<Tensor>& values, Loc loc) {
  Node* node = AddNode(kOptimizationBarrier, values, {}, loc);
  std::vector<Tensor> results;
  for (int i = 0; i < static_cast<int>(values.size()); ++i) results.emplace_back(node, i);
  return results;
}

Tensor Place(const Tensor& x, Placement where, Loc loc) {
  return Apply(kPlace, {x}, {{"on_host", where == Placement::kPinnedHost}}, loc);
}

bool IsOnHost(const Tensor& tensor) {
  return tensor.node()->op == &kPlace && tensor.node()->attrs.Get<bool>("on_host");
}

bool IsFetched(const Tensor& tensor) {
  return tensor.node()->op == &kPlace && !tensor.node()->attrs.Get<bool>("on_host");
}

std::string ShardingText(const Sharding& sharding) {
  std::vector<std::string> dims;
  for (const auto& axes : sharding.axes) {
    std::vector<std::string> quoted;
    for (const std::string& axis : axes) quoted.push_back(Quoted(axis));
    dims.push_back(fmt::format("{{{}}}", fmt::join(quoted, ", ")));
  }
  return fmt::format("#sdy.sharding<@mesh, [{}]>", fmt::join(dims, ", "));
}

Tensor ShardingConstraint(const Tensor& x, const Sharding& sharding, Loc loc) {
  if (Graph::Current().mesh().empty()) {
    FailAt(loc, "sharding_constraint: expected a graph with a mesh, got none");
  }
  return Apply(kShardingConstraint, {x}, {{"axes", sharding.axes}}, loc);
}

std::vector<Tensor> CustomCall(const std::string& target, const std::vector<Tensor>& operands,
                               const std::vector<Shape>& results, const CustomCallOptions& options,
                               Loc loc) {
  std::string layouts;
  if (!options.operand_layouts.empty() || !options.result_layouts.empty()) {
    layouts = fmt::format("operand_layouts = {}, result_layouts = {}",
                          LayoutList(options.operand_layouts), LayoutList(options.result_layouts));
  }
  Attrs attrs{{"target", target},
              {"backend_config", options.backend_config},
              {"typed_ffi", options.typed_ffi},
              {"has_side_effect", options.has_side_effect},
              {"results", results}};
  if (!layouts.empty()) attrs.Set("layouts", layouts);
  if (!options.name.empty()) attrs.Set("location", options.name);
  if (!options.output_operand_aliases.empty()) {
    attrs.Set("aliases", AliasList(options.output_operand_aliases, results.size()));
  }
  Node* node = AddNode(kCustomCall, operands, std::move(attrs), loc);
  std::vector<Tensor> tensors;
  for (int i = 0; i < static_cast<int>(results.size()); ++i) tensors.emplace_back(node, i);
  return tensors;
}

std::vector<Tensor> CustomVjp(const std::vector<Tensor>& primals, const CustomForward& forward,
                              CustomBackward backward, Loc loc) {
  const auto all = [backward = std::move(backward)](std::span<const Tensor> residuals,
                                                    std::span<const Tensor> cotangents,
                                                    const std::vector<bool>& /*wanted*/) {
    return backward(residuals, cotangents);
  };
  return CustomVjp(primals, forward, SelectiveBackward(all), loc);
}

std::vector<Tensor> CustomVjp(const std::vector<Tensor>& primals, const CustomForward& forward,
                              SelectiveBackward backward, Loc loc) {
  const CustomVjpOutput result = forward(primals);
  auto rule = std::make_shared<CustomVjpRule>();
  rule->backward = std::move(backward);
  rule->primals = primals.size();
  rule->outputs = result.outputs.size();
  std::vector<Tensor> inputs = primals;
  inputs.insert(inputs.end(), result.outputs.begin(), result.outputs.end());
  inputs.insert(inputs.end(), result.residuals.begin(), result.residuals.end());
  Node* node = AddNode(kCustomVjp, std::move(inputs),
                       {{"rule", std::shared_ptr<const CustomVjpRule>(std::move(rule))}}, loc);
  std::vector<Tensor> outputs;
  for (int i = 0; i < static_cast<int>(result.outputs.size()); ++i) outputs.emplace_back(node, i);
  return outputs;
}

namespace ops {

std::vector<const OpDef*> SpecialOps() {
  return {&kStopGradient,       &kCheckpointName, &kCustomVjp, &kOptimizationBarrier,
          &kShardingConstraint, &kPlace,          &kCustomCall};
}

}  // namespace ops
}  // namespace sophia
