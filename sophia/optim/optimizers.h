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
// The rate that the caller computed, else the schedule's: f32[].
Tensor RateOf(const Schedule& schedule, const UpdateArgs& args);

// The options that the optimisers below share: gradients are clipped first, as by ClipByGlobalNorm,
// unless max_grad_norm is 0; the decay is decoupled, as AdamW's.
struct UpdateOptions {
  Schedule schedule;
  double weight_decay = 0;
  double max_grad_norm = 0;
};

// Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101), as torch.optim.AdamW:
// p -= lr * weight_decay * p + lr * Adam's direction.
enum class MomentStorage : uint8_t {
  kF32,
  // mu is bf16, as with Optax's mu_dtype; nu stays f32, whose steps of 1 - b2 bf16 would round
  // away.
  kBF16Mean,
  // Those of parameters with at least two dimensions and kLeast8BitElements elements are 8-bit
  // codes and the scales of their blocks, in slots mu, nu, mu_absmax and nu_absmax/<parameter>: see
  // kernels::AdamW8Bit.
  k8Bit,
};
struct AdamWOptions {
  UpdateOptions update;
  AdamOptions adam = {};
  MomentStorage moments = MomentStorage::kF32;
  // With mode kMosaic or kInterpret one kernel moves a parameter and its moments.
  kernels::KernelTarget target = {};
};
// As bitsandbytes' min_8bit_size.
inline constexpr int64_t kLeast8BitElements = 4096;
Transform AdamW(const AdamWOptions& options);

// As torch.optim.SGD without momentum.
Transform Sgd(const UpdateOptions& options);

// Adafactor (Shazeer and Stern, arXiv:1804.04235) as transformers.Adafactor(scale_parameter=False,
// relative_step=False): second moments of matrices are kept as means of rows and columns, in slots
// nu_row and nu_col/<parameter>, those of others in nu; updates of an array are scaled to a
// root mean square of at most clip_threshold.
struct AdafactorOptions {
  UpdateOptions update;
  double clip_threshold = 1;
  double decay_rate = -0.8;  // the moments' decay of update t, from 1, is 1 - t^decay_rate
  double eps = 1e-30;        // added to squares
};
Transform Adafactor(const AdafactorOptions& options);

// Lion (Chen et al., arXiv:2302.06675): the sign of b1·mu + (1 - b1)·g, then mu = b2·mu + (1 -
// b2)·g, in slot mu/<parameter>.
struct LionOptions {
  UpdateOptions update;
  double b1 = 0.9;
  double b2 = 0.99;
};
Transform Lion(const LionOptions& options);

// Muon (https://kellerjordan.github.io/posts/muon) as optax.contrib.muon: the Nesterov momentum of
// a matrix [rows, columns] is made near-orthogonal by a Newton-Schulz iteration, times
// sqrt(max(1, rows / columns)), or sqrt(max(rows, columns)) · consistent_rms where that is not 0
// (arXiv:2502.16982). Other parameters get Adam with Nesterov momentum. Slots mu/<parameter> and,
// of the others, nu.
struct MuonOptions {
  UpdateOptions update;
  double momentum = 0.95;
  int64_t ns_steps = 5;
  double consistent_rms = 0;
  AdamOptions adam = {};
};
Transform Muon(const MuonOptions& options);

// Sophia (Liu et al., arXiv:2305.14342), algorithm 3: mu = b1·mu + (1 - b1)·g; every
// update_interval updates, from the first, h = b2·h + (1 - b2)·estimate; the step is
// clip(mu / max(gamma·h, eps), 1). Slots mu and h/<parameter>.
struct SophiaOptions {
  UpdateOptions update;
  Curvature estimator = Curvature::kGaussNewtonBartlett;
  double b1 = 0.96;
  double b2 = 0.99;
  double eps = 1e-12;
  double gamma = 0.05;
  int64_t update_interval = 10;
};
Transform Sophia(const SophiaOptions& options);

}  // namespace sophia::optim
