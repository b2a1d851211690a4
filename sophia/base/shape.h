#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sophia/base/dtype.h"

namespace sophia {

using Dims = std::vector<int64_t>;

// Element type and static dimensions, outermost first, row-major where bytes matter.
struct Shape {
  DType dtype = DType::kF32;
  Dims dims;

  int64_t rank() const { return static_cast<int64_t>(dims.size()); }
  int64_t elements() const;
  int64_t bytes() const { return ByteSize(dtype, elements()); }

  bool operator==(const Shape&) const = default;
};

int64_t Product(const Dims& dims);

// "[2, 3]" and "f32[2, 3]".
std::string ToString(const Dims& dims);
std::string ToString(const Shape& shape);

}  // namespace sophia
