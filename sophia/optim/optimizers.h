#pragma once

#include "sophia/kernels/kernel_target.h"
#include "sophia/optim/schedule.h"
#include "sophia/optim/transform.h"

namespace sophia::optim {

// Scales all gradients by min(1, max_norm / (norm + 1e-6)), norm being GlobalNorm: the formula of
// torch.nn.utils.clip_grad_norm_, where Optax has no 1e-6. Throws Error unless max_norm > 0.
Transform ClipByGlobalNorm(double max_norm);

struct AdamOptions {
  double b1 = 0.9;
  double b2 = 0.999;
  double eps = 1e-8;
};

// m_hat / (sqrt(v_hat) + eps) with bias-corrected moments (Kingma and Ba, arXiv:1412.6980), kept in
// slots mu/<parameter> and nu/<parameter>. Throws Error unless 0 <= b1, b2 < 1 and eps >= 0.
Transform ScaleByAdam(const AdamOptions& options = {});

// Adds weight_decay * parameter. Throws Error unless weight_decay >= 0.
Transform AddDecayedWeights(double weight_decay);

// Times minus the learning rate, which turns a direction into the update to add.
Transform ScaleByLearningRate(const Schedule& schedule);

// Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101), as torch.optim.AdamW:
// p -= lr * weight_decay * p + lr * Adam's direction.
struct AdamWOptions {
  Schedule schedule;
  AdamOptions adam = {};
  double weight_decay = 0;
  double max_grad_norm = 0;  // gradients are clipped first, as by ClipByGlobalNorm; 0: they are not
  // Moments of parameters with at least two dimensions and kLeast8BitElements elements are 8-bit
  // codes and the scales of their blocks, in slots mu, nu, mu_absmax and nu_absmax/<parameter>: see
  // kernels::AdamW8Bit.
  bool moments_8bit = false;
  // With mode kMosaic or kInterpret one kernel moves a parameter and its moments.
  kernels::KernelTarget target = {};
};
// As bitsandbytes' min_8bit_size.
inline constexpr int64_t kLeast8BitElements = 4096;
Transform AdamW(const AdamWOptions& options);

// As torch.optim.SGD without momentum: the decay is added to the gradient.
struct SgdOptions {
  Schedule schedule;
  double weight_decay = 0;
};
Transform Sgd(const SgdOptions& options);

}  // namespace sophia::optim
