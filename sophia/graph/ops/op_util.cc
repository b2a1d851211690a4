#include "sophia/graph/ops/op_util.h"

#include <fmt/ranges.h>

#include "sophia/graph/ops/op_lists.h"

namespace sophia {

std::string I64Array(const Dims& values) {
  return values.empty() ? "array<i64>" : fmt::format("array<i64: {}>", fmt::join(values, ", "));
}

std::string I64List(const Dims& values) { return fmt::format("[{}]", fmt::join(values, ", ")); }

int64_t CheckedAxis(int64_t axis, int64_t rank, std::string_view op, Loc loc) {
  const int64_t index = axis < 0 ? axis + rank : axis;
  if (index < 0 || index >= rank) {
    FailAt(loc, "{}: expected an axis of a rank-{} tensor, got {}", op, rank, axis);
  }
  return index;
}

std::vector<const OpDef*> AllOps() {
  std::vector<const OpDef*> all;
  for (const auto& list :
       {ops::CreationOps(), ops::UnaryOps(), ops::BinaryOps(), ops::SelectOps(), ops::TypeOps(),
        ops::ShapeOps(), ops::SliceOps(), ops::GatherOps(), ops::ReduceOps(), ops::DotOps(),
        ops::SortOps(), ops::SpecialOps(), ops::ControlOps()}) {
    all.insert(all.end(), list.begin(), list.end());
  }
  return all;
}

}  // namespace sophia
