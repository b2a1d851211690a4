#pragma once

#include <utility>
#include <vector>

#include "sophia/graph/tensor.h"

namespace sophia {

struct SortOptions {
  int64_t axis = -1;
  bool descending = false;
};

// Sorts all operands (of one size) together by the first; stable. NaN order is unspecified.
std::vector<Tensor> Sort(const std::vector<Tensor>& operands, SortOptions options = {},
                         Loc loc = Loc::current());

// Indices (s32) that sort x.
Tensor ArgSort(const Tensor& x, SortOptions options = {}, Loc loc = Loc::current());

// Random bits of an unsigned type from a state u64[2] by ThreeFry: {next state, bits}. The same
// state gives the same bits on every backend.
std::pair<Tensor, Tensor> RngBitGenerator(const Tensor& state, const Shape& shape,
                                          Loc loc = Loc::current());

}  // namespace sophia
