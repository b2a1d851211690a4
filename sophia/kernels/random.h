#pragma once

#include "sophia/graph/tensor.h"

// Random numbers from keys and counters, the same on every target.
namespace sophia::kernels {

// A key (s32 [2]) of its own for each stream (s32 []) of a seed (u64 []):
// jax.random.fold_in(jax.random.key(seed), stream). Dropout has the streams from 0.
Tensor DropoutKey(const Tensor& seed, const Tensor& stream);

// The first word of Threefry-2x32-20 with counter (row, column), s32 of one shape -> s32 likewise.
Tensor RandomWords(const Tensor& key, const Tensor& row, const Tensor& column);

// -log(-log(u)) with u uniform in (0, 1), of the same counters: f32.
Tensor GumbelNoise(const Tensor& key, const Tensor& row, const Tensor& column);

// 1 or -1, each with probability 1/2: f32 of `dims`.
Tensor RandomSigns(const Tensor& key, const Dims& dims);

}  // namespace sophia::kernels
