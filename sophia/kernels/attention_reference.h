#pragma once

#include "sophia/graph/tensor.h"

namespace sophia::kernels {

// The name under which attention's result and log-sum-exp are saved for the backward pass.
inline constexpr const char* kSavedAttention = "attention";

// Which keys a query sees, and what happens to scores.
struct AttentionMask {
  double scale = 1;       // of q · k
  bool causal = true;     // a query sees keys at its own position and before
  int64_t window = 0;     // and at most this many of them, itself included; 0: all
  double soft_cap = 0;    // scores become cap · tanh(scores / cap); 0: they stay
  Tensor segments = {};   // s32 [B, Sk]: a query sees keys of its own segment; needs Sq = Sk
  Tensor positions = {};  // s32 [B, Sq] of queries among the keys; without them query i is at i
};

// Attention in plain ops: softmax(mask(scale · q·kᵀ))·v with grouped queries. Scores and softmax in
// f32; the backward pass makes the weights again (https://arxiv.org/abs/2205.14135). Where there
// are more than `max_scores`, a scan over blocks of queries holds only those of one block.
// q: [B, Sq, H, D], k and v: [B, Sk, K, D], K dividing H -> [B, Sq, H, D] in q's type.
Tensor ReferenceAttention(const Tensor& q, const Tensor& k, const Tensor& v,
                          const AttentionMask& mask, int64_t max_scores = int64_t{1} << 26);

}  // namespace sophia::kernels
