#pragma once

#include "sophia/kernels/kernel_target.h"

namespace sophia::kernels {

enum class Activation : uint8_t {
  kSilu,      // x · logistic(x): SwiGLU of Llama, Qwen and Mistral
  kGeluTanh,  // x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))): GeGLU of Gemma
  kGelu,      // x / 2 · (1 + erf(x / √2))
};

struct GluOptions {
  Activation activation = Activation::kSilu;
  int64_t block_rows = 0;  // a multiple of 16; 0: by chip and shape
};

// act(gate) · up, a gated linear unit (https://arxiv.org/abs/2002.05202). gate, up: [..., F] of one
// float type, as the result. The gradient saves gate and up.
//
// Tiles: [block_rows, min(F, 2048)], forward and backward (d gate = d · up · act'(gate), d up = d ·
// act(gate)). VMEM: three blocks twice, five in the backward kernel. Numerics: f32 inside, one
// rounding to the result's type; erf by 7.1.26 of Abramowitz and Stegun, off by at most 1.5e-7.
Tensor GatedLinearUnit(const Tensor& gate, const Tensor& up, const KernelTarget& target,
                       const GluOptions& options = {});

}  // namespace sophia::kernels
