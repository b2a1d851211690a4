// Ops that hold regions: loops, branches, calls.
#include "sophia/graph/ops/control_ops.h"

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/op_lists.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/printer.h"

namespace sophia {
namespace {

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;
using Regions = std::vector<std::unique_ptr<Region>>;

std::vector<Shape> ShapesOf(const std::vector<Tensor>& tensors) {
  std::vector<Shape> shapes;
  for (const Tensor& tensor : tensors) shapes.push_back(tensor.shape());
  return shapes;
}

std::vector<Tensor> ResultsOf(Node* node) {
  std::vector<Tensor> results;
  for (int i = 0; i < static_cast<int>(node->results.size()); ++i) results.emplace_back(node, i);
  return results;
}

std::string Names(const std::vector<Shape>& shapes) {
  std::string text;
  for (const Shape& shape : shapes) text += (text.empty() ? "" : ", ") + ToString(shape);
  return "(" + text + ")";
}

std::vector<Tensor> AddParameters(Region& region, const std::vector<Shape>& shapes, Loc loc) {
  std::vector<Tensor> parameters;
  for (const Shape& shape : shapes) parameters.push_back(AddParameter(region, shape, loc));
  return parameters;
}

std::vector<Shape> WhileShape(const ShapeArgs& args) {
  const std::vector<Shape> condition = ShapesOf(args.regions[0]->results);
  if (condition.size() != 1 || condition[0] != Shape{DType::kBool, {}}) {
    args.Fail("expected a condition that returns bool[], got {}", Names(condition));
  }
  std::vector<Shape> body = ShapesOf(args.regions[1]->results);
  if (body != args.inputs) {
    args.Fail("expected a body that returns the loop's state {}, got {}", Names(args.inputs),
              Names(body));
  }
  return body;
}

std::vector<Shape> CaseShape(const ShapeArgs& args) {
  if (args.inputs[0] != Shape{DType::kS32, {}}) {
    args.Fail("expected an index s32[], got {}", ToString(args.inputs[0]));
  }
  std::vector<Shape> first = ShapesOf(args.regions[0]->results);
  for (const auto& region : args.regions) {
    if (ShapesOf(region->results) != first) {
      args.Fail("expected branches of equal results, got {} and {}", Names(first),
                Names(ShapesOf(region->results)));
    }
  }
  return first;
}

std::vector<Shape> CallShape(const ShapeArgs& args) {
  const Region* body = Graph::Current().FindFunction(args.attrs.Get<std::string>("name"));
  std::vector<Shape> parameters;
  for (const auto& parameter : body->parameters) parameters.push_back(parameter->results[0]);
  if (parameters != args.inputs) {
    args.Fail("expected arguments {} as in the first call of '{}', got {}", Names(parameters),
              args.attrs.Get<std::string>("name"), Names(args.inputs));
  }
  return ShapesOf(body->results);
}

std::vector<Shape> ScanShape(const ShapeArgs& args) {
  const auto carries = static_cast<size_t>(args.attrs.Get<int64_t>("carries"));
  const int64_t length = args.attrs.Get<int64_t>("length");
  std::vector<Shape> results = ShapesOf(args.regions[0]->results);
  const std::vector<Shape> init(args.inputs.begin(),
                                args.inputs.begin() + static_cast<int64_t>(carries));
  if (results.size() < carries || !std::equal(init.begin(), init.end(), results.begin())) {
    args.Fail("expected a body that returns the carry {}, got {}", Names(init), Names(results));
  }
  for (size_t i = carries; i < results.size(); ++i) {
    results[i].dims.insert(results[i].dims.begin(), length);
  }
  return results;
}

std::vector<OpSample> WhileSamples() {
  return {{.name = "while",
           .inputs = {{DType::kF32, {3}}},
           .call =
               [](In in) {
                 return While([](In state) { return Lt(state[0], 4.0); },
                              [](In state) {
                                return Out{state[0] + 1.0, state[1] * 1.5};
                              },
                              {Scalar(DType::kS32, 0), in[0]});
               },
           .differentiable = false},
          {.name = "while/closure",
           .inputs = {{DType::kF32, {3}}, {DType::kF32, {3}}},
           .call =
               [](In in) {
                 const Tensor limit = Sum(in[1] * in[1]) * 20.0;
                 return While([&](In state) { return Lt(Sum(state[0]), limit); },
                              [&](In state) { return Out{state[0] * 2.0 + in[1]}; }, {in[0]});
               },
           .low = 0.5,
           .differentiable = false}};
}

std::vector<OpSample> CaseSamples() {
  return {
      {.name = "case",
       .inputs = {{DType::kF32, {3}}, {DType::kF32, {3}}},
       .call =
           [](In in) {
             return Case(Scalar(DType::kS32, 1),
                         {[&] { return Out{Sin(in[0])}; }, [&] { return Out{in[0] * in[1]}; }});
           }},
      // The first, the last, and the last again for an index beyond.
      {.name = "case/three", .inputs = {{DType::kF32, {3}}, {DType::kF32, {3}}}, .call = [](In in) {
         Out outputs;
         for (const double index : {0, 2, 9}) {
           const Out results =
               Case(Scalar(DType::kS32, index), {[&] {
                                                   return Out{Sin(in[0]), in[1]};
                                                 },
                                                 [&] {
                                                   return Out{in[0], in[0]};
                                                 },
                                                 [&] {
                                                   return Out{in[0] * in[1], Exp(in[1])};
                                                 }});
           outputs.insert(outputs.end(), results.begin(), results.end());
         }
         return outputs;
       }}};
}

std::vector<OpSample> CallSamples() {
  return {{.name = "call", .inputs = {{DType::kF32, {3}}, {DType::kF32, {3}}}, .call = [](In in) {
             const TensorFunction f = [](In x) { return Out{Sin(x[0]) * x[1]}; };
             const Tensor once = Call("f", f, {in[0], in[1]})[0];
             return Call("f", f, {once, in[0]});
           }}};
}

std::vector<OpSample> ScanSamples() {
  const auto body = [](In carry, In x) -> ScanStep {
    const Tensor next = Sin(carry[0] * x[0]) + x[1];
    return {{next}, {next * carry[0]}};
  };
  const auto call = [body](bool reverse, const Remat& remat) {
    return [=](In in) {
      const ScanResult result =
          Scan(body, {in[0]}, {in[1], in[2]}, {.reverse = reverse, .remat = remat});
      return Out{result.carry[0], result.ys[0]};
    };
  };
  const std::vector<Shape> inputs = {
      {DType::kF32, {3}}, {DType::kF32, {4, 3}}, {DType::kF32, {4, 3}}};
  Remat prefetched = Remat::Nothing();
  prefetched.offloads_carries = true;
  prefetched.prefetches_carries = true;
  return {{"scan", inputs, call(false, Remat::Everything())},
          {"scan/reverse", inputs, call(true, Remat::Everything())},
          {"scan/remat", inputs, call(false, Remat::Nothing())},
          {"scan/prefetch", inputs, call(false, prefetched)},
          {"scan/reverse_prefetch", inputs, call(true, prefetched)},
          {"scan/closure", inputs, [](In in) {
             const Tensor weight = Sin(in[0]);
             const ScanResult result = Scan(
                 [&](In carry, In x) -> ScanStep {
                   return {{carry[0] * weight + x[0]}, {x[1] * weight}};
                 },
                 {in[0]}, {in[1], in[2]});
             return Out{result.carry[0], result.ys[0]};
           }}};
}

}  // namespace

constinit const OpDef kWhile = Op({
    .name = "while",
    .shape = WhileShape,
    .gradient = OpDef::Gradient::kForbidden,
    .print = [](const Node& node, RegionPrinter& printer) { printer.PrintWhile(node); },
    .samples = WhileSamples,
});

constinit const OpDef kCase = Op({
    .name = "case",
    .shape = CaseShape,
    .gradient = OpDef::Gradient::kStructural,
    .print = [](const Node& node, RegionPrinter& printer) { printer.PrintCase(node); },
    .samples = CaseSamples,
});

constinit const OpDef kCall = Op({
    .name = "call",
    .mlir = "func.call",
    .shape = CallShape,
    .gradient = OpDef::Gradient::kStructural,
    .attributes =
        [](const Node& node) { return "callee = @" + node.attrs.Get<std::string>("name"); },
    .samples = CallSamples,
});

constinit const OpDef kScan = Op({
    .name = "scan",
    .shape = ScanShape,
    .gradient = OpDef::Gradient::kStructural,
    .print = [](const Node& node, RegionPrinter& printer) { printer.PrintScan(node); },
    .samples = ScanSamples,
});

std::vector<Tensor> While(const Predicate& condition, const TensorFunction& body,
                          const std::vector<Tensor>& init, Loc loc) {
  Regions regions;
  regions.push_back(NewRegion());
  regions.push_back(NewRegion());
  {
    const std::vector<Tensor> state = AddParameters(*regions[0], ShapesOf(init), loc);
    const RegionScope scope(*regions[0]);
    regions[0]->results = {condition(state)};
  }
  {
    const std::vector<Tensor> state = AddParameters(*regions[1], ShapesOf(init), loc);
    const RegionScope scope(*regions[1]);
    regions[1]->results = body(state);
  }
  return ResultsOf(AddNode(kWhile, init, {}, loc, std::move(regions)));
}

std::vector<Tensor> Case(const Tensor& index, const std::vector<Branch>& branches, Loc loc) {
  Regions regions;
  for (const Branch& branch : branches) {
    regions.push_back(NewRegion());
    const RegionScope scope(*regions.back());
    regions.back()->results = branch();
  }
  if (regions.empty()) FailAt(loc, "case: expected at least one branch, got none");
  return ResultsOf(AddNode(kCase, {index}, {}, loc, std::move(regions)));
}

std::vector<Tensor> Cond(const Tensor& predicate, const Branch& if_true, const Branch& if_false,
                         Loc loc) {
  return Case(Convert(predicate, DType::kS32, loc), {if_false, if_true}, loc);
}

std::vector<Tensor> Call(const std::string& name, const TensorFunction& function,
                         const std::vector<Tensor>& arguments, Loc loc) {
  Graph& graph = Graph::Current();
  if (graph.FindFunction(name) == nullptr) {
    auto body = std::make_unique<Region>();
    const std::vector<Tensor> parameters = AddParameters(*body, ShapesOf(arguments), loc);
    {
      const RegionScope scope(*body);
      body->results = function(parameters);
    }
    graph.AddFunction(name, std::move(body));
  }
  return ResultsOf(AddNode(kCall, arguments, {{"name", name}}, loc));
}

ScanResult Scan(const ScanBody& body, const std::vector<Tensor>& init,
                const std::vector<Tensor>& xs, const ScanOptions& options, Loc loc) {
  int64_t length = options.length;
  for (const Tensor& x : xs) {
    if (x.rank() == 0 || (length >= 0 && x.dim(0) != length)) {
      FailAt(loc, "scan: expected xs with a leading dimension of {}, got {}",
             length < 0 ? "one size" : std::to_string(length), ToString(x.shape()));
    }
    length = x.dim(0);
  }
  if (length < 0) FailAt(loc, "scan: expected xs or a length, got neither");

  Regions regions;
  regions.push_back(NewRegion());
  Region& region = *regions[0];
  const std::vector<Tensor> carry = AddParameters(region, ShapesOf(init), loc);
  std::vector<Tensor> slices;
  for (const Tensor& x : xs) {
    slices.push_back(
        AddParameter(region, {x.dtype(), Dims(x.dims().begin() + 1, x.dims().end())}, loc));
  }
  {
    const RegionScope scope(region);
    ScanStep step = body(carry, slices);
    region.results = std::move(step.carry);
    if (region.results.size() != init.size()) {
      FailAt(loc, "scan: expected a body that returns {} carried tensors, got {}", init.size(),
             region.results.size());
    }
    region.results.insert(region.results.end(), step.ys.begin(), step.ys.end());
  }
  std::vector<Tensor> inputs = init;
  inputs.insert(inputs.end(), xs.begin(), xs.end());
  const std::vector<Tensor> results =
      ResultsOf(AddNode(kScan, std::move(inputs),
                        {{"carries", static_cast<int64_t>(init.size())},
                         {"length", length},
                         {"reverse", options.reverse},
                         {"remat", options.remat}},
                        loc, std::move(regions)));
  const auto split = results.begin() + static_cast<int64_t>(init.size());
  return {{results.begin(), split}, {split, results.end()}};
}

namespace ops {

std::vector<const OpDef*> ControlOps() { return {&kWhile, &kCase, &kCall, &kScan}; }

}  // namespace ops
}  // namespace sophia
