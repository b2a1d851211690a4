#include "sophia/models/llama.h"

#include "sophia/base/error.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/kernels/glu.h"
#include "sophia/models/cached_attention.h"
#include "sophia/nn/attention.h"

namespace sophia::models {

LlamaBlock::LlamaBlock(const nn::ParamScope& scope, const LlamaConfig& c)
    : config(c),
      kernels(scope.policy().kernels()),
      tokenwise(scope),
      head_groups(scope, c.kv_heads),
      input_layernorm(scope / "input_layernorm", c.d_model, c.norm_eps),
      q_proj(scope / "self_attn.q_proj", c.d_model, c.heads * c.head_dim,
             {.bias = c.attention_bias}),
      k_proj(scope / "self_attn.k_proj", c.d_model, c.kv_heads * c.head_dim,
             {.bias = c.attention_bias}),
      v_proj(scope / "self_attn.v_proj", c.d_model, c.kv_heads * c.head_dim,
             {.bias = c.attention_bias}),
      o_proj(scope / "self_attn.o_proj", c.heads * c.head_dim, c.d_model,
             {.bias = c.attention_bias}),
      post_attention_layernorm(scope / "post_attention_layernorm", c.d_model, c.norm_eps),
      gate_proj(scope / "mlp.gate_proj", c.d_model, c.d_ff, {.bias = c.mlp_bias}),
      up_proj(scope / "mlp.up_proj", c.d_model, c.d_ff, {.bias = c.mlp_bias}),
      down_proj(scope / "mlp.down_proj", c.d_ff, c.d_model, {.bias = c.mlp_bias}) {}

Tensor LlamaBlock::operator()(const Tensor& x, const kernels::RotaryTable& rope,
                              const ForwardInputs& inputs, const Tensor& layer,
                              std::optional<KvCache>& cache) const {
  const auto split = [&](const Tensor& y, int64_t heads) {
    return Reshape(y, {y.dim(0), y.dim(1), heads, config.head_dim});
  };
  const auto merge = [](const Tensor& y) { return Reshape(y, {y.dim(0), y.dim(1), -1}); };
  const Tensor mixed = head_groups([&](const EqualPart& part) {
    SOPHIA_CHECK(!cache || part.count == 1, "a cache holds all heads");
    const int64_t heads = config.heads / part.count;
    const int64_t kv_heads = config.kv_heads / part.count;
    const std::vector<Tensor> qkv = tokenwise(
        [&](std::span<const Tensor> in) -> std::vector<Tensor> {
          const Tensor normal = input_layernorm(in[0]);
          const auto [q, k] =
              kernels::Rotary(split(q_proj(normal, part), heads),
                              split(k_proj(normal, part), kv_heads), {in[1], rope.layout}, kernels);
          return {merge(q), merge(k), v_proj(normal, part)};
        },
        {x, rope.rows});
    const Tensor q = split(qkv[0], heads);
    const Tensor k = split(qkv[1], kv_heads);
    const Tensor v = split(qkv[2], kv_heads);
    return merge(cache ? AttendCached(q, k, v, inputs.positions, layer, *cache)
                       : nn::Attend(q, k, v, {.segments = inputs.segments}, kernels));
  });
  return tokenwise(
      [&](std::span<const Tensor> in) -> std::vector<Tensor> {
        const auto [normal, h] = post_attention_layernorm.OfSum(in[0], o_proj(in[1]));
        const Tensor gate = gate_proj(normal);
        return {h + down_proj(kernels::GatedLinearUnit(gate, up_proj(normal), kernels))};
      },
      {x, mixed})[0];
}

Llama::Llama(const nn::ParamScope& scope, LlamaConfig config)
    : config_(std::move(config)),
      embed_tokens_(scope / "model.embed_tokens", config_.vocab, config_.d_model),
      stack_(scope / "model.layers", config_.layers),
      block_(stack_.scope(), config_),
      norm_((stack_.Close(), scope / "model.norm"), config_.d_model, config_.norm_eps) {
  const nn::ParamPolicy& policy = scope.policy();
  const bool unties = policy.Trains((scope / "model.embed_tokens").path()) ||
                      policy.Trains((scope / "lm_head").path());
  if (!config_.tied_embeddings || unties) {
    const nn::Param& table = embed_tokens_.weight();
    lm_head_ = (scope / "lm_head")
                   .Declare("weight", {config_.vocab, config_.d_model},
                            {.may_pack = true,
                             .is_table = true,
                             .source = config_.tied_embeddings ? table.spec().path : ""});
  }
}

ForwardResult Llama::Forward(const ForwardInputs& inputs) const {
  const kernels::RotaryTable rope =
      nn::MakeRopeTable(config_.rope, inputs.positions, config_.head_dim);
  std::vector<Tensor> carry = {embed_tokens_(inputs.ids)};
  if (inputs.cache) carry.insert(carry.end(), {inputs.cache->keys, inputs.cache->values});
  const nn::LayerStack::Step last = stack_.Run(
      [&](std::span<const Tensor> state, std::span<const Tensor>,
          const Tensor& layer) -> nn::LayerStack::Step {
        std::optional<KvCache> cache;
        if (inputs.cache) cache = KvCache{state[1], state[2]};
        const Tensor x = block_(state[0], rope, inputs, layer, cache);
        nn::LayerStack::Step step{{x}};
        if (cache) step.carry.insert(step.carry.end(), {cache->keys, cache->values});
        if (inputs.probes.defined()) {
          step.ys.push_back(Take(Reshape(x, {-1, config_.d_model}), inputs.probes, 0));
        }
        return step;
      },
      carry);
  ForwardResult result{.hidden = norm_(last.carry[0])};
  if (inputs.cache) result.cache = KvCache{last.carry[1], last.carry[2]};
  if (inputs.probes.defined()) result.states = last.ys[0];
  return result;
}

const nn::Param& Llama::Head() const {
  return lm_head_.defined() ? lm_head_ : embed_tokens_.weight();
}

}  // namespace sophia::models
