#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sophia/graph/graph.h"
#include "sophia/graph/ops/elementwise.h"

namespace sophia {

// AddNode for ops of one result.
inline Tensor Apply(const OpDef& op, std::vector<Tensor> inputs, Attrs attrs, Loc loc) {
  return {AddNode(op, std::move(inputs), std::move(attrs), loc), 0};
}

// Throws Error that names the user's line.
template <typename... Args>
[[noreturn]] void FailAt(Loc loc, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format("{}:{}", loc.file_name(), loc.line()),
              fmt::format(format, std::forward<Args>(args)...));
}

// "array<i64: 1, 2>".
std::string I64Array(const Dims& values);
// "[1, 2]".
std::string I64List(const Dims& values);

// Checks an axis and makes it non-negative.
int64_t CheckedAxis(int64_t axis, int64_t rank, std::string_view op, Loc loc);

// Broadcasts operands against each other, turning numbers into constants.
struct OperandPair {
  Tensor a;
  Tensor b;
  Loc loc;
};
OperandPair BroadcastOperands(std::string_view op, const Operand& a, const Operand& b);

}  // namespace sophia
