#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

#include "sophia/base/shape.h"

namespace sophia {

struct Node;

// The line of user code that built a node; errors name it. As a default argument, Loc::current() is
// the caller's line (std::source_location, which clang 14 lacks).
class Loc {
 public:
  static constexpr Loc current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
  constexpr Loc() = default;

  constexpr const char* file_name() const { return file_; }
  constexpr int line() const { return line_; }
  // MLIR's `"file.cc":12:0`, without folders, so that a program is the same text in every checkout.
  std::string Mlir() const;

 private:
  constexpr Loc(const char* file, int line) : file_(file), line_(line) {}

  const char* file_ = "";
  int line_ = 0;
};

// A value of the program being traced: one result of a node. A cheap handle; the Graph owns the
// node. A default-constructed Tensor stands for "no value".
class Tensor {
 public:
  Tensor() = default;
  Tensor(Node* node, int index) : node_(node), index_(index) {}

  bool defined() const { return node_ != nullptr; }
  Node* node() const { return node_; }
  int index() const { return index_; }

  const Shape& shape() const;
  const Dims& dims() const { return shape().dims; }
  DType dtype() const { return shape().dtype; }
  int64_t rank() const { return shape().rank(); }
  // Size of one dimension; negative counts from the last.
  int64_t dim(int64_t axis) const;

  bool operator==(const Tensor&) const = default;

 private:
  Node* node_ = nullptr;
  int index_ = 0;
};

struct TensorHash {
  size_t operator()(const Tensor& tensor) const {
    return std::hash<const void*>()(tensor.node()) * 31 + static_cast<size_t>(tensor.index());
  }
};

}  // namespace sophia
