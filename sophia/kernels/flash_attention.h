#pragma once

#include "sophia/kernels/attention_reference.h"
#include "sophia/kernels/kernel_target.h"

namespace sophia::kernels {

// Queries and keys a step of a kernel, multiples of 128, one dividing the other; 0: as planned for
// the chip and the length (flash_plan.h).
struct FlashBlocks {
  int64_t q = 0;
  int64_t k = 0;
};

// Attention with online softmax, block by block, so that no [T, T] array exists
// (FlashAttention-2, https://arxiv.org/abs/2307.08691).
// q: [B, T, H, D]; k, v: [B, T, K, D], K dividing H -> [B, T, H, D] in q's type. Every
// query sees itself. `mask` without positions. D is whole in every block: 64, 80, 96, 128, 256, …
//
// Tiles, forward: a program a batch row, head and block of queries, walking over blocks of keys.
// Backward: the same for q; for k and v a program a block of keys, walking over the query heads of
// its group and their blocks, with transposed scores, so that statistics stay rows. Blocks that the
// mask excludes are neither fetched nor computed: for causal masks and windows by their place, for
// segments by bounds that plain ops compute and the kernels prefetch. With D a multiple of 128 the
// kernels read heads where they lie, as columns of [B, T, H·D]; otherwise from [B, H, T, D], whose
// rows XLA lays out in whole 128 lanes like those of any array: twice the bytes at D = 64. VMEM:
// blocks of the operands twice, f32 scratch [block, D] for each accumulator and, forward, two of
// [block_q, 128]; the compiler adds a few arrays of scores, f32 [block_q, block_k]. Products take
// the operands' type (f32 on chips that multiply no bf16) and accumulate in f32; the softmax is
// f32. Mode kReference is ReferenceAttention.
Tensor FlashAttention(const Tensor& q, const Tensor& k, const Tensor& v, const KernelTarget& target,
                      const AttentionMask& mask, const FlashBlocks& blocks = {});

}  // namespace sophia::kernels
