#pragma once

#include "sophia/kernels/kernel_target.h"

namespace sophia::kernels {

struct RmsNormOptions {
  double eps = 1e-6;
  double weight_offset = 0;      // rows are scaled by offset + weight: 1 for Gemma
  bool weight_gradient = false;  // otherwise the weight is frozen and has none
  int64_t block_rows = 0;        // a multiple of 16; 0: by chip and shape
};

// x / √(mean(x²) + eps) · (offset + weight) (https://arxiv.org/abs/1910.07467). x: [..., D], f32 or
// bf16, as the result; weight: [D], any float type. The gradient saves x alone.
//
// Tiles: [block_rows, D], forward and backward. The backward kernel computes the root again, so
// that no statistic is stored; with n = x / root and g = d · (offset + weight), dx = (g - n ·
// mean(g · n)) / root, and the weight's gradient is a row of sums for each block, f32 [blocks, 1,
// D], added up outside. VMEM: two blocks twice (three in the backward kernel) and rows [8, D] in
// f32 for weight and sums. Numerics: f32 inside, one rounding to the result's type.
Tensor RmsNorm(const Tensor& x, const Tensor& weight, const KernelTarget& target,
               const RmsNormOptions& options = {});

// The same of sum = x + residual, which is rounded to x's type first. Two blocks more in VMEM, one
// more in the backward kernel. The gradient saves the sum alone.
struct AddRmsNormOutput {
  Tensor normalised;
  Tensor sum;
};
AddRmsNormOutput AddRmsNorm(const Tensor& x, const Tensor& residual, const Tensor& weight,
                            const KernelTarget& target, const RmsNormOptions& options = {});

}  // namespace sophia::kernels
