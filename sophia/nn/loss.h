#pragma once

#include "sophia/graph/tensor.h"

namespace sophia::nn {

// Label of positions that take no part in a loss.
inline constexpr int32_t kIgnoredLabel = -100;

// Cross-entropy of a linear head without the whole [N, V] logits: rows are processed in chunks, and
// the gradient of the hidden states is made in the same pass. The head is not differentiated.
// hidden: [N, D], head: [V, D], labels: s32 [N] -> f32 [N], 0 where the label is kIgnoredLabel.
// loss = logsumexp(h·Wᵀ) - (h·Wᵀ)[label]; d loss / d h = (softmax(h·Wᵀ) - onehot(label))·W.
Tensor LinearCrossEntropy(const Tensor& hidden, const Tensor& head, const Tensor& labels,
                          int64_t chunk = 128);

}  // namespace sophia::nn
