#pragma once

#include <optional>

#include "sophia/graph/node.h"
#include "sophia/nn/param.h"

namespace sophia::models {

// Keys and values of earlier positions, for decoding: [layers, B, capacity, kv_heads, head_dim].
struct KvCache {
  Tensor keys;
  Tensor values;
};

struct ForwardInputs {
  Tensor ids;        // s32 [B, S]
  Tensor positions;  // s32 [B, S]; with a cache, consecutive in each row
  std::optional<KvCache> cache = std::nullopt;
  Tensor segments = {};  // s32 [B, S]: tokens see those of their own segment; not with a cache
  Tensor probes = {};  // s32 [n]: places b * S + s of tokens whose states of each layer are wanted
};

struct ForwardResult {
  Tensor hidden;  // [B, S, D] after the last norm
  std::optional<KvCache> cache = std::nullopt;
  Tensor states = {};  // [layers, n, D], after each layer, of the probes if there are any
};

// Sizes that programs around the model need.
struct ModelSizes {
  int64_t vocab = 0;
  int64_t d_model = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;
};

// A decoder-only language model, traced. Its parameters are declared in a ParamTable, which must be
// bound to the current trace when these functions are called.
class CausalLm {
 public:
  virtual ~CausalLm() = default;
  CausalLm() = default;
  CausalLm(const CausalLm&) = delete;
  CausalLm& operator=(const CausalLm&) = delete;

  virtual const ModelSizes& sizes() const = 0;
  virtual ForwardResult Forward(const ForwardInputs& inputs) const = 0;
  // The weight of the vocabulary head, [V, D].
  virtual const nn::Param& Head() const = 0;

  // hidden: [..., D] -> f32 [..., V].
  Tensor Logits(const Tensor& hidden) const;
  // Cross-entropy of hidden [N, D] to labels, s32 [N] -> f32 [N]; see nn::LinearCrossEntropy.
  Tensor TokenLosses(const Tensor& hidden, const Tensor& labels,
                     const kernels::KernelTarget& target, int64_t chunk) const;
  Shape CacheShape(int64_t batch, int64_t capacity, DType dtype) const;
};

}  // namespace sophia::models
