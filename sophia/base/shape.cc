#include "sophia/base/shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace sophia {

int64_t Product(const Dims& dims) {
  int64_t product = 1;
  for (int64_t dim : dims) product *= dim;
  return product;
}

int64_t Shape::elements() const { return Product(dims); }

std::string ToString(const Dims& dims) { return fmt::format("[{}]", fmt::join(dims, ", ")); }

std::string ToString(const Shape& shape) {
  return fmt::format("{}[{}]", Name(shape.dtype), fmt::join(shape.dims, ", "));
}

}  // namespace sophia
