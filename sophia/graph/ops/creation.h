#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "sophia/graph/tensor.h"

namespace sophia {

// A tensor of given bytes, dense and row-major. Throws Error when the size does not fit the shape.
Tensor Constant(const Shape& shape, std::span<const std::byte> bytes, Loc loc = Loc::current());
Tensor ConstantF32(const Dims& dims, const std::vector<float>& values, Loc loc = Loc::current());
Tensor ConstantS32(const Dims& dims, const std::vector<int32_t>& values, Loc loc = Loc::current());

// Every element is `value`, rounded to the element type.
Tensor Full(const Shape& shape, double value, Loc loc = Loc::current());
Tensor Scalar(DType dtype, double value, Loc loc = Loc::current());
Tensor FullLike(const Tensor& like, double value, Loc loc = Loc::current());
Tensor ZerosLike(const Tensor& like, Loc loc = Loc::current());
Tensor OnesLike(const Tensor& like, Loc loc = Loc::current());

// Element [.., i, ..] is i, where i counts along `axis`.
Tensor Iota(const Shape& shape, int64_t axis, Loc loc = Loc::current());

}  // namespace sophia
