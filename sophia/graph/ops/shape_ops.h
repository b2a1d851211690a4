#pragma once

#include <string_view>
#include <vector>

#include "sophia/graph/tensor.h"

namespace sophia {

// Value conversion; the identity when the type is already `dtype`. Gradients convert back.
Tensor Convert(const Tensor& x, DType dtype, Loc loc = Loc::current());

// Same bits under another type. Types of one width keep the sizes; otherwise the last dimension
// splits into or joins from the narrower elements, as in StableHLO.
Tensor BitcastConvert(const Tensor& x, DType dtype, Loc loc = Loc::current());

// Dimension i of x becomes dimension map[i] of the result; size 1 stretches.
Tensor BroadcastInDim(const Tensor& x, const Dims& dims, const Dims& map, Loc loc = Loc::current());

// NumPy broadcasting to `dims`; the identity when nothing changes.
Tensor BroadcastTo(const Tensor& x, const Dims& dims, Loc loc = Loc::current());

// The sizes that two operands broadcast to. Throws Error naming `op`.
Dims BroadcastDims(const Dims& a, const Dims& b, std::string_view op, Loc loc);

// Row-major reinterpretation; one size may be -1.
Tensor Reshape(const Tensor& x, const Dims& dims, Loc loc = Loc::current());

// Dimension i of the result is dimension permutation[i] of x.
Tensor Transpose(const Tensor& x, const Dims& permutation, Loc loc = Loc::current());

// Inserts a dimension of size 1 before `axis` (of the result), or removes one.
Tensor ExpandDims(const Tensor& x, int64_t axis, Loc loc = Loc::current());
Tensor Squeeze(const Tensor& x, int64_t axis, Loc loc = Loc::current());

// Turns the order of the elements along each of `axes` (negative ones count from the last) round.
Tensor Reverse(const Tensor& x, const Dims& axes, Loc loc = Loc::current());

// Joins the parts along `axis` (negative ones count from the last). Throws Error when there is none
// or when they differ in type or in another dimension.
Tensor Concatenate(const std::vector<Tensor>& parts, int64_t axis, Loc loc = Loc::current());

// Adds low[i] and high[i] elements of `value` (a scalar tensor) around and interior[i] between the
// elements of dimension i. Negative low and high cut off.
Tensor Pad(const Tensor& x, const Tensor& value, const Dims& low, const Dims& high,
           const Dims& interior, Loc loc = Loc::current());

// `value` behind the elements of dimension `axis`, which is not negative, up to `size` of them; the
// identity when there are as many.
Tensor PadEnd(const Tensor& x, int64_t axis, int64_t size, double value = 0,
              Loc loc = Loc::current());

}  // namespace sophia
