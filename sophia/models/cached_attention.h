#pragma once

#include "sophia/models/causal_lm.h"

namespace sophia::models {

// Writes k and v ([B, S, K, D]) into the layer's place of the cache, row b at positions[b, 0], and
// attends from q ([B, S, H, D]) over the layer's cached keys -> [B, S, H, D]. `cache` is updated.
Tensor AttendCached(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& positions,
                    const Tensor& layer, KvCache& cache);

}  // namespace sophia::models
