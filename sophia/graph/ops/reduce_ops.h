#pragma once

#include "sophia/graph/tensor.h"

namespace sophia {

struct ReduceOptions {
  bool keep_dims = false;  // leave size 1 where a dimension was reduced
};

// Reductions over `axes` (negative ones count from the last), or over everything when none is
// given.
Tensor Sum(const Tensor& x, const Dims& axes, ReduceOptions options = {}, Loc loc = Loc::current());
Tensor Sum(const Tensor& x, Loc loc = Loc::current());
Tensor Prod(const Tensor& x, const Dims& axes, ReduceOptions options = {},
            Loc loc = Loc::current());
Tensor ReduceMax(const Tensor& x, const Dims& axes, ReduceOptions options = {},
                 Loc loc = Loc::current());
Tensor ReduceMin(const Tensor& x, const Dims& axes, ReduceOptions options = {},
                 Loc loc = Loc::current());
// Over bool tensors.
Tensor All(const Tensor& x, const Dims& axes, ReduceOptions options = {}, Loc loc = Loc::current());
Tensor Any(const Tensor& x, const Dims& axes, ReduceOptions options = {}, Loc loc = Loc::current());

// Sum over `axes` divided by the number of elements in each sum.
Tensor Mean(const Tensor& x, const Dims& axes, ReduceOptions options = {},
            Loc loc = Loc::current());

// Index (s32) of the first largest element along `axis`.
Tensor ArgMax(const Tensor& x, int64_t axis, Loc loc = Loc::current());

}  // namespace sophia
