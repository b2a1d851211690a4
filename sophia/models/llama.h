#pragma once

#include <memory>
#include <string_view>

#include "sophia/base/json.h"
#include "sophia/models/causal_lm.h"
#include "sophia/nn/head_groups.h"
#include "sophia/nn/layer_stack.h"
#include "sophia/nn/layers.h"
#include "sophia/nn/rope.h"
#include "sophia/nn/tokenwise.h"

namespace sophia::models {

// Llama (https://arxiv.org/abs/2302.13971) and the checkpoints that share its architecture.
struct LlamaConfig : ModelSizes {
  int64_t d_ff = 0;
  double norm_eps = 1e-6;
  bool attention_bias = false;
  bool mlp_bias = false;
  bool tied_embeddings = false;
  nn::RopeConfig rope = {};

  // From a config.json. Throws Error naming `where` for a missing key, for a value that is not
  // implemented and for a key that is not known, since it may change the maths.
  static LlamaConfig FromJson(const Json& json, std::string_view where);
};

// One decoder layer: attention and a gated MLP, each behind a norm and added to its input.
struct LlamaBlock {
  LlamaBlock(const nn::ParamScope& scope, const LlamaConfig& config);

  // x: [B, S, D].
  Tensor operator()(const Tensor& x, const kernels::RotaryTable& rope, const ForwardInputs& inputs,
                    const Tensor& layer, std::optional<KvCache>& cache) const;

  const LlamaConfig& config;
  const kernels::KernelTarget& kernels;
  nn::Tokenwise tokenwise;
  nn::HeadGroups head_groups;
  nn::RmsNorm input_layernorm;
  nn::Linear q_proj, k_proj, v_proj, o_proj;
  nn::RmsNorm post_attention_layernorm;
  nn::Linear gate_proj, up_proj, down_proj;
};

class Llama : public CausalLm {
 public:
  Llama(const nn::ParamScope& scope, LlamaConfig config);

  const ModelSizes& sizes() const override { return config_; }
  ForwardResult Forward(const ForwardInputs& inputs) const override;
  const nn::Param& Head() const override;

 private:
  LlamaConfig config_;
  nn::Embedding embed_tokens_;
  nn::LayerStack stack_;
  LlamaBlock block_;
  nn::RmsNorm norm_;
  nn::Param lm_head_;
};

}  // namespace sophia::models
