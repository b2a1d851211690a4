#pragma once

#include <vector>

#include "sophia/graph/tensor.h"

namespace sophia {

// x[start[0]:limit[0]:stride[0], ...]; no strides means 1 everywhere.
Tensor Slice(const Tensor& x, const Dims& start, const Dims& limit, const Dims& strides = {},
             Loc loc = Loc::current());

// x[..., start:limit, ...] along one axis.
Tensor SliceAxis(const Tensor& x, int64_t axis, int64_t start, int64_t limit,
                 Loc loc = Loc::current());

// Starts are integer scalars, one a dimension, clamped so that the slice stays inside.
Tensor DynamicSlice(const Tensor& x, const std::vector<Tensor>& starts, const Dims& sizes,
                    Loc loc = Loc::current());
// x with the block at `starts` replaced by `update`.
Tensor DynamicUpdateSlice(const Tensor& x, const Tensor& update, const std::vector<Tensor>& starts,
                          Loc loc = Loc::current());

// One of `count` equal parts of a dimension.
struct EqualPart {
  Tensor index = {};  // integer scalar
  int64_t count = 1;
};
// That part of x along `axis`, a dimension that `count` divides (else an InternalError); x itself
// where there is one part.
Tensor TakePart(const Tensor& x, int64_t axis, const EqualPart& part, Loc loc = Loc::current());

}  // namespace sophia
