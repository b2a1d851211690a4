#pragma once

#include "sophia/kernels/kernel_target.h"

namespace sophia::kernels {

// Label of positions that take no part in a loss.
inline constexpr int32_t kIgnoredLabel = -100;

// Rows of the hidden states and of the head that a kernel works on at a time, multiples of 128,
// except where all fit; 0: as planned for the chip (cross_entropy_plan.cc).
struct CrossEntropyBlocks {
  int64_t tokens = 0;
  int64_t vocab = 0;
};

struct LinearCrossEntropyOptions {
  Tensor head_scale = {};            // f32 [V], of an s8 head: row v stands for scale[v] · row v
  double soft_cap = 0;               // logits become cap · tanh(logits / cap); 0: they stay
  int64_t chunk = 128;               // mode kReference: tokens whose logits exist at a time
  CrossEntropyBlocks forward = {};   // of the kernel that makes the loss
  CrossEntropyBlocks backward = {};  // of the one that makes the gradient
};

// Cross-entropy of a linear head without the [N, V] logits: loss = logsumexp(l) - l[label] with
// l = h·Wᵀ; d loss / d h = (softmax(l) - onehot(label))·W. Negative labels are ignored: loss 0.
// hidden: f32 or bf16 [N, D]; head: [V, D] of hidden's type, or s8 with scales; labels: s32 [N]
// -> f32 [N]. A head of s8 has no gradient. Another's, where it is asked for, is made by plain ops,
// which compute the logits of 512 tokens at a time again.
//
// Kernels, after Milakov and Gimelshein's online softmax (https://arxiv.org/abs/1805.02867) and
// Wijmans et al. (https://arxiv.org/abs/2411.09009): a program has a block of tokens and walks over
// blocks of the head, whole rows of D at a time, with a running maximum and sum. The backward
// kernel makes the logits again from the saved log-sum-exp and adds (softmax - onehot)·W up in f32.
// HBM: the head once for each block of tokens, ⌈N / tokens⌉·V·D elements; labels, loss and
// log-sum-exp are rows. Sizes need not be multiples of the blocks.
// VMEM for t tokens and v rows of the head, of h and w bytes an element:
//   forward   t·D·h + 2·v·D·w + 4·t·v + 2240·t
//   backward  2·t·D·h + 2·v·D·w + 4·t·D + (4 + h)·t·v + 1728·t
// and 64·v for scales; libtpu spills up to 12·t·v more. On v2 and v3, (4 + h) is 8.
// Products take hidden's type, f32 where the chip has no others, and accumulate in f32; f32
// operands go through the matrix unit as bf16. Softmax and loss are f32.
// Mode kReference goes over chunks of tokens and makes the gradient in the same pass.
Tensor LinearCrossEntropy(const Tensor& hidden, const Tensor& head, const Tensor& labels,
                          const KernelTarget& target = {},
                          const LinearCrossEntropyOptions& options = {});

}  // namespace sophia::kernels
