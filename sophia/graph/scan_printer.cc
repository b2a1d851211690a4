// Writes a scan as a stablehlo.while over
//   counter, carries, stacked ys, live xs, values used from outside,
// with a dynamic slice for each x and a dynamic update for each y. Equal values share one place.
#include <fmt/ranges.h>

#include <algorithm>

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/graph/printer.h"

namespace sophia {
namespace {

constexpr std::string_view kIndexType = "tensor<i32>";

// Places in the loop's state, one for each distinct value.
struct Slots {
  std::vector<size_t> first;  // for each place the operand, result or capture that made it
  std::vector<std::pair<size_t, size_t>> of = {};  // every live one, and its place
  std::unordered_map<std::string, size_t> seen = {};

  // Returns whether the value named `key` is new.
  bool Add(size_t index, const std::string& key) {
    const auto [it, is_new] = seen.try_emplace(key, first.size());
    of.emplace_back(index, it->second);
    if (is_new) first.push_back(index);
    return is_new;
  }
};

// A name for the value behind identities.
std::string Origin(Tensor tensor) {
  for (Tensor next = AliasedValue(tensor); !(next == tensor); next = AliasedValue(tensor)) {
    tensor = next;
  }
  return fmt::format("{}#{}", tensor.node()->id, tensor.index());
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

std::string Repeat(std::string_view first, std::string_view other, int64_t others) {
  std::string text(first);
  for (int64_t i = 0; i < others; ++i) text += fmt::format(", {}", other);
  return text;
}

}  // namespace

// Which of a scan's operands and results take part, and their places in the loop's state.
struct ScanLayout {
  size_t carries = 0;
  Slots ys;  // of the body's results
  Slots xs;  // of the scan's inputs
  std::vector<Tensor> captures;
  Slots captured;
  std::vector<Shape> shapes;

  ScanLayout(const Node& scan, const LiveSet& live, const RegionPrinter& printer);

  size_t first_y() const { return 1 + carries; }
  size_t first_x() const { return first_y() + ys.first.size(); }
  size_t first_capture() const { return first_x() + xs.first.size(); }
};

ScanLayout::ScanLayout(const Node& scan, const LiveSet& live, const RegionPrinter& printer)
    : carries(static_cast<size_t>(scan.attrs.Get<int64_t>("carries"))) {
  const Region& body = *scan.regions[0];
  shapes.push_back({DType::kS32, {}});
  for (size_t i = 0; i < carries; ++i) shapes.push_back(scan.inputs[i].shape());
  for (size_t i = carries; i < scan.results.size(); ++i) {
    if (!live.contains({const_cast<Node*>(&scan), static_cast<int>(i)})) continue;
    if (ys.Add(i, Origin(body.results[i]))) shapes.push_back(scan.results[i]);
  }
  for (size_t i = carries; i < scan.inputs.size(); ++i) {
    if (!live.contains({body.parameters[i].get(), 0})) continue;
    if (xs.Add(i, printer.Ref(scan.inputs[i]))) shapes.push_back(scan.inputs[i].shape());
  }
  for (const Tensor& capture : Captures(body)) {
    if (!live.contains(capture)) continue;
    captures.push_back(capture);
    if (captured.Add(captures.size() - 1, printer.Ref(capture))) shapes.push_back(capture.shape());
  }
}

void RegionPrinter::PrintScan(const Node& node) {
  const ScanLayout layout(node, live_, *this);
  std::vector<std::string> state = {Scalar(DType::kS32, 0)};
  for (size_t i = 0; i < layout.carries; ++i) state.push_back(Ref(node.inputs[i]));
  for (const size_t y : layout.ys.first) {
    const Shape& shape = node.results[y];
    const std::string element = Scalar(shape.dtype, 0);
    state.push_back(FreshName());
    Line(
        fmt::format("{} = \"stablehlo.broadcast_in_dim\"({}) {{broadcast_dimensions = "
                    "array<i64>}} : ({}) -> {}",
                    state.back(), element, Type({shape.dtype, {}}), Type(shape)));
  }
  for (const size_t x : layout.xs.first) state.push_back(Ref(node.inputs[x]));
  for (const size_t i : layout.captured.first) state.push_back(Ref(layout.captures[i]));

  const auto outer = names_;
  const std::string name = FreshName();
  Line(fmt::format("{}:{} = \"stablehlo.while\"({}) ({{", name, state.size(),
                   fmt::join(state, ", ")));
  const std::vector<std::string> condition = OpenBlock(layout.shapes);
  const auto length = static_cast<double>(node.attrs.Get<int64_t>("length"));
  const std::string limit = Scalar(DType::kS32, length);
  const std::string more = FreshName();
  Line(
      fmt::format("{} = \"stablehlo.compare\"({}, {}) {{comparison_direction = "
                  "#stablehlo<comparison_direction LT>, compare_type = "
                  "#stablehlo<comparison_type SIGNED>}} : ({s}, {s}) -> tensor<i1>",
                  more, condition[0], limit, fmt::arg("s", kIndexType)));
  Line(fmt::format("\"stablehlo.return\"({}) : (tensor<i1>) -> ()", more));
  --depth_;
  Line("}, {");
  PrintScanBody(node, layout);
  Line(fmt::format("}}) : ({}) -> ({})", Types(layout.shapes), Types(layout.shapes)));

  names_ = outer;
  const auto bind = [&](size_t result, size_t place) {
    Bind({const_cast<Node*>(&node), static_cast<int>(result)}, fmt::format("{}#{}", name, place));
  };
  for (size_t i = 0; i < layout.carries; ++i) bind(i, 1 + i);
  for (const auto& [y, slot] : layout.ys.of) bind(y, layout.first_y() + slot);
}

void RegionPrinter::PrintScanBody(const Node& node, const ScanLayout& layout) {
  const Region& body = *node.regions[0];
  const std::vector<std::string> arguments = OpenBlock(layout.shapes);
  const std::string zero = Scalar(DType::kS32, 0);
  const std::string one = Scalar(DType::kS32, 1);
  std::string index = arguments[0];
  if (node.attrs.Get<bool>("reverse")) {
    const auto length = static_cast<double>(node.attrs.Get<int64_t>("length"));
    const std::string last = Scalar(DType::kS32, length - 1);
    index = FreshName();
    Line(fmt::format("{} = \"stablehlo.subtract\"({}, {}) : ({s}, {s}) -> {s}", index, last,
                     arguments[0], fmt::arg("s", kIndexType)));
  }
  for (size_t i = 0; i < layout.carries; ++i) {
    Bind({body.parameters[i].get(), 0}, arguments[1 + i]);
  }
  std::vector<std::string> slices;
  for (const size_t x : layout.xs.first) {
    const std::string& stacked = arguments[layout.first_x() + slices.size()];
    slices.push_back(PrintSliceOf(stacked, node.inputs[x].shape(), index, zero));
  }
  for (const auto& [x, slot] : layout.xs.of) Bind({body.parameters[x].get(), 0}, slices[slot]);
  for (const auto& [i, slot] : layout.captured.of) {
    Bind(layout.captures[i], arguments[layout.first_capture() + slot]);
  }
  PrintNodes(body);

  std::vector<std::string> results = {FreshName()};
  Line(fmt::format("{} = \"stablehlo.add\"({}, {}) : ({s}, {s}) -> {s}", results[0], arguments[0],
                   one, fmt::arg("s", kIndexType)));
  for (size_t i = 0; i < layout.carries; ++i) results.push_back(Ref(body.results[i]));
  for (const size_t y : layout.ys.first) {
    const Tensor& value = body.results[y];
    const std::string update = Type(WithLeadingOne(value.shape()));
    const std::string expanded = FreshName();
    Line(fmt::format("{} = \"stablehlo.reshape\"({}) : ({}) -> {}", expanded, Ref(value),
                     Type(value.shape()), update));
    const std::string stacked = Type(node.results[y]);
    const std::string& before = arguments[results.size()];
    results.push_back(FreshName());
    Line(fmt::format("{} = \"stablehlo.dynamic_update_slice\"({}, {}, {}) : ({}, {}, {}) -> {}",
                     results.back(), before, expanded, Repeat(index, zero, value.rank()), stacked,
                     update, Repeat(kIndexType, kIndexType, value.rank()), stacked));
  }
  for (size_t i = layout.first_x(); i < arguments.size(); ++i) results.push_back(arguments[i]);
  Line(fmt::format("\"stablehlo.return\"({}) : ({}) -> ()", fmt::join(results, ", "),
                   Types(layout.shapes)));
  --depth_;
}

std::string RegionPrinter::PrintSliceOf(const std::string& stacked, const Shape& shape,
                                        const std::string& index, const std::string& zero) {
  const Shape slice{shape.dtype, Dims(shape.dims.begin() + 1, shape.dims.end())};
  const std::string sliced = FreshName();
  Line(fmt::format(
      "{} = \"stablehlo.dynamic_slice\"({}, {}) {{slice_sizes = array<i64: {}>}} : ({}, {}) -> {}",
      sliced, stacked, Repeat(index, zero, slice.rank()),
      fmt::join(WithLeadingOne(slice).dims, ", "), Type(shape),
      Repeat(kIndexType, kIndexType, slice.rank()), Type(WithLeadingOne(slice))));
  std::string squeezed = FreshName();
  Line(fmt::format("{} = \"stablehlo.reshape\"({}) : ({}) -> {}", squeezed, sliced,
                   Type(WithLeadingOne(slice)), Type(slice)));
  return squeezed;
}

}  // namespace sophia
