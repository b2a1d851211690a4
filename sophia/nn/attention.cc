#include "sophia/nn/attention.h"

#include <cmath>

#include "sophia/kernels/flash_attention.h"

namespace sophia::nn {

Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
              const kernels::KernelTarget& target) {
  const kernels::AttentionMask mask{.scale = 1.0 / std::sqrt(static_cast<double>(q.dim(3))),
                                    .causal = options.causal || options.positions.defined(),
                                    .segments = options.segments,
                                    .positions = options.positions};
  if (options.positions.defined()) return kernels::ReferenceAttention(q, k, v, mask);
  return kernels::FlashAttention(q, k, v, target, mask);
}

}  // namespace sophia::nn
