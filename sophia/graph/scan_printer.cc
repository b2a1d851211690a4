// Writes a scan as a stablehlo.while over
//   counter, carries, stacked ys, live xs, values used from outside,
// with a dynamic slice for each x and a dynamic update for each y.
#include <fmt/ranges.h>

#include <algorithm>

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/printer.h"

namespace sophia {
namespace {

// Which of a scan's operands and results take part, and their places in the loop's state.
struct Layout {
  std::vector<Tensor> carries;
  std::vector<size_t> ys;  // indices into the body's results
  std::vector<size_t> xs;  // indices into the scan's inputs
  std::vector<Tensor> captures;
  std::vector<Shape> shapes;
};

Layout LayOut(const Node& scan, const LiveSet& live) {
  Layout layout;
  const Region& body = *scan.regions[0];
  const auto carries = static_cast<size_t>(scan.attrs.Get<int64_t>("carries"));
  layout.shapes.push_back({DType::kS32, {}});
  for (size_t i = 0; i < carries; ++i) {
    layout.carries.push_back(scan.inputs[i]);
    layout.shapes.push_back(scan.inputs[i].shape());
  }
  for (size_t i = carries; i < scan.results.size(); ++i) {
    if (!live.contains({const_cast<Node*>(&scan), static_cast<int>(i)})) continue;
    layout.ys.push_back(i);
    layout.shapes.push_back(scan.results[i]);
  }
  for (size_t i = carries; i < scan.inputs.size(); ++i) {
    if (!live.contains({body.parameters[i].get(), 0})) continue;
    layout.xs.push_back(i);
    layout.shapes.push_back(scan.inputs[i].shape());
  }
  for (const Tensor& capture : Captures(body)) {
    if (!live.contains(capture)) continue;
    layout.captures.push_back(capture);
    layout.shapes.push_back(capture.shape());
  }
  return layout;
}

std::string Types(const std::vector<Shape>& shapes) {
  std::vector<std::string> texts;
  for (const Shape& shape : shapes) texts.push_back(RegionPrinter::Type(shape));
  return fmt::format("{}", fmt::join(texts, ", "));
}

Shape WithLeadingOne(Shape shape) {
  shape.dims.insert(shape.dims.begin(), 1);
  return shape;
}

std::string Repeat(const std::string& first, const std::string& other, int64_t others) {
  std::string text = first;
  for (int64_t i = 0; i < others; ++i) text += ", " + other;
  return text;
}

}  // namespace

void RegionPrinter::PrintScan(const Node& node) {
  const Layout layout = LayOut(node, live_);
  const int64_t length = node.attrs.Get<int64_t>("length");
  const bool reverse = node.attrs.Get<bool>("reverse");
  const Region& body = *node.regions[0];
  const std::string s32 = "tensor<i32>";

  std::vector<std::string> state = {Scalar(DType::kS32, 0)};
  for (const Tensor& carry : layout.carries) state.push_back(Ref(carry));
  for (const size_t y : layout.ys) {
    const Shape& shape = node.results[y];
    const std::string element = Scalar(shape.dtype, 0);
    state.push_back(FreshName());
    Line(
        fmt::format("{} = \"stablehlo.broadcast_in_dim\"({}) {{broadcast_dimensions = "
                    "array<i64>}} : ({}) -> {}",
                    state.back(), element, Type({shape.dtype, {}}), Type(shape)));
  }
  for (const size_t x : layout.xs) state.push_back(Ref(node.inputs[x]));
  for (const Tensor& capture : layout.captures) state.push_back(Ref(capture));

  const auto outer = names_;
  const std::string name = FreshName();
  Line(fmt::format("{}:{} = \"stablehlo.while\"({}) ({{", name, state.size(),
                   fmt::join(state, ", ")));
  const std::vector<std::string> condition = OpenBlock(layout.shapes);
  const std::string limit = Scalar(DType::kS32, static_cast<double>(length));
  const std::string more = FreshName();
  Line(
      fmt::format("{} = \"stablehlo.compare\"({}, {}) {{comparison_direction = "
                  "#stablehlo<comparison_direction LT>, compare_type = "
                  "#stablehlo<comparison_type SIGNED>}} : ({s}, {s}) -> tensor<i1>",
                  more, condition[0], limit, fmt::arg("s", s32)));
  Line(fmt::format("\"stablehlo.return\"({}) : (tensor<i1>) -> ()", more));
  --depth_;
  Line("}, {");

  const std::vector<std::string> arguments = OpenBlock(layout.shapes);
  const std::string zero = Scalar(DType::kS32, 0);
  const std::string one = Scalar(DType::kS32, 1);
  const std::string& counter = arguments[0];
  std::string index = counter;
  if (reverse) {
    const std::string last = Scalar(DType::kS32, static_cast<double>(length - 1));
    index = FreshName();
    Line(fmt::format("{} = \"stablehlo.subtract\"({}, {}) : ({s}, {s}) -> {s}", index, last,
                     counter, fmt::arg("s", s32)));
  }
  size_t at = 1;
  for (size_t i = 0; i < layout.carries.size(); ++i) {
    Bind({body.parameters[i].get(), 0}, arguments[at++]);
  }
  const size_t first_y = at;
  at += layout.ys.size();
  const size_t first_x = at;
  for (const size_t x : layout.xs) {
    const Shape& stacked = node.inputs[x].shape();
    const Shape& slice = body.parameters[x]->results[0];
    const std::string sliced = FreshName();
    Dims sizes = stacked.dims;
    sizes[0] = 1;
    Line(fmt::format(
        "{} = \"stablehlo.dynamic_slice\"({}, {}) {{slice_sizes = array<i64: {}>}} : ({}, {}) -> "
        "{}",
        sliced, arguments[at++], Repeat(index, zero, slice.rank()), fmt::join(sizes, ", "),
        Type(stacked), Repeat(s32, s32, slice.rank()), Type(WithLeadingOne(slice))));
    const std::string squeezed = FreshName();
    Line(fmt::format("{} = \"stablehlo.reshape\"({}) : ({}) -> {}", squeezed, sliced,
                     Type(WithLeadingOne(slice)), Type(slice)));
    Bind({body.parameters[x].get(), 0}, squeezed);
  }
  for (const Tensor& capture : layout.captures) Bind(capture, arguments[at++]);
  PrintNodes(body);

  const std::string next = FreshName();
  Line(fmt::format("{} = \"stablehlo.add\"({}, {}) : ({s}, {s}) -> {s}", next, counter, one,
                   fmt::arg("s", s32)));
  std::vector<std::string> results = {next};
  for (size_t i = 0; i < layout.carries.size(); ++i) results.push_back(Ref(body.results[i]));
  for (size_t i = 0; i < layout.ys.size(); ++i) {
    const Tensor& value = body.results[layout.ys[i]];
    const Shape& stacked = node.results[layout.ys[i]];
    const std::string expanded = FreshName();
    Line(fmt::format("{} = \"stablehlo.reshape\"({}) : ({}) -> {}", expanded, Ref(value),
                     Type(value.shape()), Type(WithLeadingOne(value.shape()))));
    results.push_back(FreshName());
    Line(fmt::format(
        "{} = \"stablehlo.dynamic_update_slice\"({}, {}, {}) : ({}, {}, {}) -> {}", results.back(),
        arguments[first_y + i], expanded, Repeat(index, zero, value.rank()), Type(stacked),
        Type(WithLeadingOne(value.shape())), Repeat(s32, s32, value.rank()), Type(stacked)));
  }
  for (size_t i = first_x; i < arguments.size(); ++i) results.push_back(arguments[i]);
  Line(fmt::format("\"stablehlo.return\"({}) : ({}) -> ()", fmt::join(results, ", "),
                   Types(layout.shapes)));
  --depth_;
  Line(fmt::format("}}) : ({}) -> ({})", Types(layout.shapes), Types(layout.shapes)));

  names_ = outer;
  for (size_t i = 0; i < layout.carries.size(); ++i) {
    Bind({const_cast<Node*>(&node), static_cast<int>(i)}, fmt::format("{}#{}", name, 1 + i));
  }
  for (size_t i = 0; i < layout.ys.size(); ++i) {
    Bind({const_cast<Node*>(&node), static_cast<int>(layout.ys[i])},
         fmt::format("{}#{}", name, first_y + i));
  }
}

}  // namespace sophia
