#pragma once

#include "sophia/kernels/kernel_target.h"

namespace sophia::kernels {

struct FlashOptions {
  double scale = 1;       // of q · k
  bool causal = true;     // a query sees keys at its own position and before
  int64_t window = 0;     // and at most this many of them, itself included; 0: all
  double soft_cap = 0;    // scores become cap · tanh(scores / cap); 0: they stay
  int64_t block_q = 256;  // queries a program, a multiple of 128
  int64_t block_k = 512;  // keys a step, a multiple of 128
};

// Attention with online softmax, block by block, so that no [T, T] array exists
// (FlashAttention-2, https://arxiv.org/abs/2307.08691). Returns [B, H, T, D] of q's type; zero for
// queries that see no key.
// q: [B, H, T, D]; k, v: [B, K, T, D], K dividing H; segments: s32 [B, T] or undefined: a query
// sees keys of its own segment. D is whole in every block: 64, 80, 96, 128, 256, …
//
// Tiles, forward: a program a batch row, head and block of queries, walking over blocks of keys.
// Backward: the same for q; for k and v a program a block of keys, walking over the query heads of
// its group and their blocks, with transposed scores, so that statistics stay rows. Blocks that the
// mask excludes are neither fetched nor computed.
// VMEM: blocks of the operands twice, f32 scratch [block, D] for each accumulator and, forward, two
// of [block_q, 128]. Products take the operands' type and accumulate in f32; the softmax is f32.
// Mode kReference is plain attention, which does make [T, T].
Tensor FlashAttention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& segments,
                      const KernelTarget& target, const FlashOptions& options);

// The forward kernel alone, with what its gradient needs; it has no gradient itself.
struct FlashOutput {
  Tensor out;      // [B, H, T, D]
  Tensor log_sum;  // log of each query's sum of exponentials, f32 [B, H, 1, T]: a column would take
                   // 128 lanes
};
FlashOutput FlashForward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& segments,
                         const KernelTarget& target, const FlashOptions& options);

}  // namespace sophia::kernels
