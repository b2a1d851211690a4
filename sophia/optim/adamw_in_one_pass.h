#pragma once

#include "sophia/optim/optimizers.h"

namespace sophia::optim {

// AdamW by kernels::AdamW and, for 8-bit moments, kernels::AdamW8Bit.
Transform AdamWInOnePass(const AdamWOptions& options);

// What ClipByGlobalNorm multiplies the gradients by: f32[].
Tensor ClipFactor(const TensorList& grads, double max_norm);

// 1 - b1^t and sqrt(1 - b2^t) of the update after `step` (s32[]) others: f32[].
struct BiasCorrectionPair {
  Tensor correction1;
  Tensor root_correction2;
};
BiasCorrectionPair BiasCorrections(const AdamOptions& options, const Tensor& step);

}  // namespace sophia::optim
