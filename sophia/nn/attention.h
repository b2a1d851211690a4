#pragma once

#include "sophia/kernels/attention_reference.h"
#include "sophia/kernels/kernel_target.h"

namespace sophia::nn {

// What the reverse pass keeps of attention under Remat::Named: the result and its row sums.
using kernels::kSavedAttention;

struct AttentionOptions {
  bool causal = true;  // query i sees keys 0 … i; needs as many queries as keys
  // s32 [B, Sq]: query i sees keys 0 … position; replaces `causal`. For decoding from a cache.
  Tensor positions = {};
  Tensor segments = {};  // s32 [B, S]: a query sees keys of its own segment only; needs Sq = Sk
};

// Scaled dot-product attention with grouped queries: https://arxiv.org/abs/1706.03762 and
// https://arxiv.org/abs/2305.13245. q: [B, Sq, H, D], k and v: [B, Sk, K, D], K divides H
// -> [B, Sq, H, D] in q's type. Scores and softmax in f32. Differentiable in q, k and v. At given
// positions it is always made of plain ops.
Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v,
              const AttentionOptions& options = {}, const kernels::KernelTarget& target = {});

}  // namespace sophia::nn
