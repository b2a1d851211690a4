#pragma once

#include "sophia/graph/tensor.h"

namespace sophia {

// Dimension numbers as in the StableHLO specification of gather and scatter.
struct GatherDims {
  Dims offset_dims = {};
  Dims collapsed_slice_dims = {};
  Dims operand_batching_dims = {};
  Dims start_indices_batching_dims = {};
  Dims start_index_map = {};
  int64_t index_vector_dim = 0;
};

// Starts beyond the operand are clamped so that the slice fits; gradients assume starts in range.
Tensor Gather(const Tensor& operand, const Tensor& start_indices, const GatherDims& dims,
              const Dims& slice_sizes, Loc loc = Loc::current());

enum class ScatterMode : uint8_t { kSet, kAdd };

// The inverse of Gather with the same dimension numbers: writes (or adds) each slice of `updates`
// into `operand`. Updates out of range are dropped; with kSet indices must be unique.
Tensor Scatter(const Tensor& operand, const Tensor& indices, const Tensor& updates,
               const GatherDims& dims, ScatterMode mode, Loc loc = Loc::current());

// x indexed along `axis` by an integer tensor of any shape, as numpy.take: the axis is replaced by
// the dimensions of `indices`. Indices must be in range.
Tensor Take(const Tensor& x, const Tensor& indices, int64_t axis, Loc loc = Loc::current());

// numpy.take_along_axis: indices have x's rank and, except along `axis`, its sizes.
Tensor TakeAlongAxis(const Tensor& x, const Tensor& indices, int64_t axis,
                     Loc loc = Loc::current());

}  // namespace sophia
