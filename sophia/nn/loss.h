#pragma once

#include "sophia/kernels/linear_cross_entropy.h"

namespace sophia::nn {

// Label of positions that take no part in a loss.
using kernels::kIgnoredLabel;

// Cross-entropy of a linear head without the whole [N, V] logits, for the target that is traced
// for. hidden: [N, D], head: [V, D], labels: s32 [N] -> f32 [N]; see the kernel's header.
using kernels::LinearCrossEntropy;

}  // namespace sophia::nn
