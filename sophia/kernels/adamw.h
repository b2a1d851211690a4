#pragma once

#include "sophia/kernels/kernel_target.h"

namespace sophia::kernels {

struct AdamWOptions {
  double b1 = 0.9;
  double b2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  int64_t block_rows = 0;  // of f32 moments, a multiple of 16; 0: by chip and shape
};

// What changes from step to step: f32 [] each.
struct AdamWScalars {
  Tensor grad_factor;       // gradients are multiplied by it first: clipping
  Tensor correction1;       // 1 - b1^t
  Tensor root_correction2;  // sqrt(1 - b2^t)
  Tensor learning_rate;
};

struct Moments {
  Tensor mu;  // of the gradient, f32, of the parameter's sizes
  Tensor nu;  // of its square
};
struct AdamWResult {
  Tensor param;
  Moments moments;
};

// One step of AdamW (https://arxiv.org/abs/1711.05101) in one pass: with g = grad · grad_factor,
//   mu = b1·mu + (1 - b1)·g,  nu = b2·nu + (1 - b2)·g²,
//   param -= learning_rate · (mu / correction1 / (sqrt(nu) / root_correction2 + eps)
//                             + weight_decay · param).
// param: f32 or bf16 of any sizes; grad of its sizes, any float; mu f32, or bf16 and then rounded
// when it is stored. Kernels write the results over param and moments.
//
// Tiles: the parameter as rows (ParamRows), [block_rows, min(columns, 2048)]. VMEM: seven blocks
// twice, 28 bytes an element with f32 parameters and gradients. Numerics: f32, param rounded once;
// the same operations in the same order as optim's ScaleByAdam, AddDecayedWeights and
// ScaleByLearningRate.
AdamWResult AdamW(const Tensor& param, const Tensor& grad, const Moments& moments,
                  const AdamWScalars& scalars, const KernelTarget& target,
                  const AdamWOptions& options = {});

// Moments as codes of the 8-bit dynamic map (dynamic_map.h), scaled by the largest magnitude of
// their block: 256 rows of one column of the parameter as rows.
struct Moments8Bit {
  Tensor mu;         // u8: 127 + place of the magnitude, or 127 - place of a negative moment
  Tensor mu_absmax;  // f32
  Tensor nu;         // u8: place - 1
  Tensor nu_absmax;
};
inline constexpr int64_t kMomentBlock = 256;
inline constexpr int64_t kCodeOfZeroMean = 127;
inline constexpr int64_t kCodeOfZeroSquare = 0;

// A parameter as [rows, columns], as kernels take it: its last two dimensions swapped if the last
// one is the shorter and would leave lanes empty (LoRA's B, [.., out, r]), those before in one.
Dims ParamRows(const Dims& param);
// Of mu and nu: u8 [rows, columns]; of their largest magnitudes: f32 [blocks, 1, columns].
Shape MomentCodes(const Dims& param);
Shape MomentAbsmax(const Dims& param);

struct AdamW8BitResult {
  Tensor param;
  Moments8Bit moments;
};

// The same step from and to 8-bit moments (https://arxiv.org/abs/2110.02861), with the code books
// and the block size of bitsandbytes' AdamW8bit. Its blocks are 256 elements in a row; here they
// are in a column, where a maximum takes no moves between lanes and scales are whole rows. As
// there, the parameter moves by the moments before they are rounded, each to the nearest code.
//
// Tiles: blocks of 256 rows and up to 512 columns, whose moments stay in VMEM as f32 until their
// largest magnitudes are known. Codes are computed, not looked up: comparisons find the decade, an
// affine formula the place in it. VMEM: 16 bytes an element twice with f32 parameters and
// gradients, and 8 bytes of scratch. Numerics: as AdamW; rounding moves a moment by at most half a
// part of its decade, which is at most 0.45 / 64 (mu) or 0.45 / 128 (nu) of the block's largest.
AdamW8BitResult AdamW8Bit(const Tensor& param, const Tensor& grad, const Moments8Bit& moments,
                          const AdamWScalars& scalars, const KernelTarget& target,
                          const AdamWOptions& options = {});

}  // namespace sophia::kernels
