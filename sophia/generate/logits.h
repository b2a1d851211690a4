#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sophia/models/model_plan.h"
#include "sophia/pjrt/buffer.h"
#include "sophia/runtime/cache.h"

namespace sophia::generate {

struct TokenBatch {
  std::span<const int32_t> ids;  // [B, S], row-major
  int64_t batch = 1;
  int64_t seq = 0;
};

// The logits after every token, [B, S, V] row-major, computed on the parameters' device. Compiles
// one program. Throws Error for an empty batch and for ids that the model does not know.
std::vector<float> FullLogits(const models::ModelPlan& plan,
                              std::span<pjrt::Buffer* const> parameters, const TokenBatch& tokens,
                              const CompileCache* cache = nullptr);

}  // namespace sophia::generate
