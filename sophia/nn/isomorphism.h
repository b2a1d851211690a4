#pragma once

#include <cstdint>
#include <vector>

#include "sophia/graph/tensor.h"

namespace sophia::nn {

// How alike two sets of hidden states are in their geometry, whatever their axes: f32 [L], one for
// each of L layers.
struct IsomorphismMeasures {
  Tensor cka;
  Tensor distance_loss;
};

// Of two tokens both measures are the same for all states.
inline constexpr int64_t kLeastTokens = 3;

// x: [L, n, d], y: [L, n, e], any floats, states of the same n tokens; counted: f32 [n], 1 for
// tokens that count and 0 for others, which change nothing. With Xc and Yc less their means:
//   cka = <K, K'> / (|K| |K'|), K = Xc Xcᵀ, K' = Yc Ycᵀ
// is the linear centred-kernel alignment (Kornblith et al., https://arxiv.org/abs/1905.00414), 1
// for states that differ by a rotation and a scale, and
//   distance_loss = mean over pairs i ≠ j of huber(D_ij / mean D - D'_ij / mean D')
// that of relational distillation (Park et al., https://arxiv.org/abs/1904.05068), D_ij the
// Euclidean distance and huber's bend at 1. Needs kLeastTokens that count and differ.
IsomorphismMeasures MeasureIsomorphism(const Tensor& x, const Tensor& y, const Tensor& counted);

// For each of `layers` layers the one at the same depth of a stack of `others`, whose last is last:
// numbers from 0.
std::vector<int32_t> LayersAtTheSameDepth(int64_t layers, int64_t others);
// Of states [others, …] those of such layers: [layers, …].
Tensor AtTheSameDepth(const Tensor& states, int64_t layers);

}  // namespace sophia::nn
