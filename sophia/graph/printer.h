#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sophia/graph/graph.h"

namespace sophia {

// The program as StableHLO text in MLIR's generic form. The same trace gives the same bytes. Nodes
// that no output needs are left out.
std::string ToStableHlo(const Graph& graph, std::string_view module_name = "sophia");

// The tensors that a region's results need, nested regions included.
using LiveSet = std::unordered_set<Tensor, TensorHash>;

struct ScanLayout;

// Writes one function, region by region. Ops with a `print` rule use it to write their line.
class RegionPrinter {
 public:
  RegionPrinter(const LiveSet& live, int depth) : live_(live), depth_(depth) {}

  // "tensor<2x3xf32>".
  static std::string Type(const Shape& shape);

  // The name under which a value can be used: "%3" or "%4#1".
  std::string Ref(const Tensor& tensor) const;
  // Names the node's results and returns the left-hand side: "%4" or "%4:2".
  std::string Define(const Node& node);
  // Lets `result` print as `value`.
  void Alias(const Tensor& result, const Tensor& value);
  void Bind(const Tensor& tensor, std::string name) { names_[tensor] = std::move(name); }
  std::string FreshName();
  // Writes a scalar constant and returns its name.
  std::string Scalar(DType dtype, double value);
  // Appends text, each of its lines indented.
  void Line(std::string_view text);

  void PrintNodes(const Region& region);
  void PrintReturn(std::string_view op, const std::vector<Tensor>& values);
  void PrintWhile(const Node& node);
  void PrintCase(const Node& node);
  void PrintScan(const Node& node);

  std::string TakeText() { return std::move(text_); }

 private:
  void PrintGeneric(const Node& node);
  std::string Refs(const std::vector<Tensor>& tensors) const;
  // Opens a region's block; returns the names of its arguments.
  std::vector<std::string> OpenBlock(const std::vector<Shape>& shapes);
  void PrintScanBody(const Node& node, const ScanLayout& layout);
  // Writes the element `index` of a stacked value and returns its name.
  std::string PrintSliceOf(const std::string& stacked, const Shape& shape, const std::string& index,
                           const std::string& zero);

  const LiveSet& live_;
  std::unordered_map<Tensor, std::string, TensorHash> names_;
  std::string text_;
  int depth_;
  int next_name_ = 0;
};

LiveSet LiveTensors(const Region& region);

}  // namespace sophia
