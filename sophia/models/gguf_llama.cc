#include "sophia/models/gguf_llama.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"

namespace sophia::models {
namespace {

using Names = std::pair<std::string_view, std::string_view>;

constexpr std::array<Names, 3> kModelNames = {{
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
}};

constexpr std::array<Names, 9> kLayerNames = {{
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
}};

// Keys of metadata that the config has: GGUF's under "llama.", then config.json's.
constexpr std::array<Names, 5> kSizes = {{
    {"embedding_length", "hidden_size"},
    {"block_count", "num_hidden_layers"},
    {"feed_forward_length", "intermediate_size"},
    {"attention.head_count", "num_attention_heads"},
    {"context_length", "max_position_embeddings"},
}};

// The other keys that are read, or that say nothing about the maths.
constexpr std::array<std::string_view, 15> kOtherKeys = {
    "attention.head_count_kv",  "attention.key_length",   "attention.layer_norm_rms_epsilon",
    "attention.sliding_window", "attention.value_length", "expert_count",
    "expert_used_count",        "rope.dimension_count",   "rope.freq_base",
    "rope.scaling.factor",      "rope.scaling.finetuned", "rope.scaling.original_context_length",
    "rope.scaling.type",        "tensor_data_layout",     "vocab_size",
};

void CheckKeys(const io::GgufFile& file) {
  constexpr std::string_view kPrefix = "llama.";
  for (const io::GgufEntry& entry : file.metadata().entries()) {
    const std::string_view key = entry.key;
    if (!key.starts_with(kPrefix)) continue;
    const std::string_view name = key.substr(kPrefix.size());
    const bool is_size = std::any_of(kSizes.begin(), kSizes.end(),
                                     [&](const Names& size) { return size.first == name; });
    if (is_size || std::find(kOtherKeys.begin(), kOtherKeys.end(), name) != kOtherKeys.end()) {
      continue;
    }
    Fail(file.path().string(), "expected keys of the Llama family that are implemented, got '{}'",
         key);
  }
}

// The keys' heads are as wide as the values' and wholly turned by the rotary embedding.
void CheckHeads(const io::GgufFile& file, int64_t head_dim) {
  for (const char* key : {"llama.attention.key_length", "llama.attention.value_length",
                          "llama.rope.dimension_count"}) {
    const int64_t got = file.metadata().FindOr<int64_t>(key, int64_t{head_dim});
    if (got != head_dim) {
      Fail(file.path().string(), "expected '{}' to be the head's {}, got {}", key, head_dim, got);
    }
  }
}

Json RopeScaling(const io::GgufFile& file) {
  const auto type =
      file.metadata().FindOr<std::string>("llama.rope.scaling.type", std::string("none"));
  if (type == "none") return nullptr;
  if (type != "linear") {
    Fail(file.path().string(), "expected a rope scaling of none or linear, got '{}'", type);
  }
  return {{"rope_type", "linear"},
          {"factor", file.metadata().Require<double>("llama.rope.scaling.factor")}};
}

// Between rows i, i + head_dim/2 apart and beside each other.
void MoveRows(std::span<std::byte> rows, int64_t heads, size_t row_bytes, bool to_pairs) {
  const std::vector<std::byte> before(rows.begin(), rows.end());
  const size_t head_dim = rows.size() / row_bytes / static_cast<size_t>(heads);
  const size_t half = head_dim / 2;
  for (size_t head = 0; head < static_cast<size_t>(heads); ++head) {
    for (size_t i = 0; i < head_dim; ++i) {
      const size_t paired = head * head_dim + (i % half) * 2 + i / half;
      const size_t apart = head * head_dim + i;
      std::memcpy(rows.data() + (to_pairs ? paired : apart) * row_bytes,
                  before.data() + (to_pairs ? apart : paired) * row_bytes, row_bytes);
    }
  }
}

}  // namespace

Json LlamaConfigFromGguf(const io::GgufFile& file) {
  CheckKeys(file);
  const io::GgufMetadata& metadata = file.metadata();
  Json config{{"model_type", "llama"}, {"architectures", {"LlamaForCausalLM"}}};
  for (const auto& [from, to] : kSizes) {
    config[std::string(to)] = metadata.Require<int64_t>("llama." + std::string(from));
  }
  const auto heads = metadata.Require<int64_t>("llama.attention.head_count");
  config["num_key_value_heads"] =
      metadata.FindOr<int64_t>("llama.attention.head_count_kv", int64_t{heads});
  config["rms_norm_eps"] = metadata.Require<double>("llama.attention.layer_norm_rms_epsilon");
  config["rope_theta"] = metadata.FindOr<double>("llama.rope.freq_base", 10000.0);
  if (const auto key_length = metadata.Find<int64_t>("llama.attention.key_length")) {
    config["head_dim"] = *key_length;
  } else if (const auto rope = metadata.Find<int64_t>("llama.rope.dimension_count")) {
    config["head_dim"] = *rope;
  }
  if (const auto head_dim = Find<int64_t>(config, "head_dim", file.path().string())) {
    CheckHeads(file, *head_dim);
  }
  for (const char* key : {"llama.expert_count", "llama.attention.sliding_window"}) {
    if (metadata.FindOr<int64_t>(key, int64_t{0}) != 0) {
      Fail(file.path().string(), "expected no '{}', got {}", key, metadata.Require<int64_t>(key));
    }
  }
  config["rope_scaling"] = RopeScaling(file);
  if (const io::TensorInfo* divisors = file.Find("rope_freqs.weight")) {
    std::vector<float> values(static_cast<size_t>(divisors->shape.elements()));
    file.Read("rope_freqs.weight", DType::kF32, std::span(values));
    config["rope_frequency_divisors"] = values;
  }
  config["vocab_size"] = file.Get("token_embd.weight").shape.dims.at(0);
  config["tie_word_embeddings"] = file.Find("output.weight") == nullptr;
  config["attention_bias"] = file.Find("blk.0.attn_q.bias") != nullptr;
  config["mlp_bias"] = file.Find("blk.0.ffn_gate.bias") != nullptr;
  return config;
}

std::string LlamaGgufName(std::string_view path) {
  for (const auto& [hf, gguf] : kModelNames) {
    if (path == hf) return std::string(gguf);
  }
  constexpr std::string_view kLayers = "model.layers.";
  if (path.starts_with(kLayers)) {
    const std::string_view rest = path.substr(kLayers.size());
    const size_t dot = rest.find('.');
    const size_t last = rest.rfind('.');
    for (const auto& [hf, gguf] : kLayerNames) {
      if (dot != last && rest.substr(dot + 1, last - dot - 1) == hf) {
        return fmt::format("blk.{}.{}{}", rest.substr(0, dot), gguf, rest.substr(last));
      }
    }
  }
  Fail("GGUF", "expected the name of a Llama tensor, got '{}'", path);
}

std::optional<int64_t> PairedHeads(const Json& config, std::string_view path,
                                   std::string_view where) {
  const auto has = [&](std::string_view part) { return path.find(part) != std::string_view::npos; };
  if (!has("self_attn.q_proj") && !has("self_attn.k_proj")) return std::nullopt;
  const auto heads = Require<int64_t>(config, "num_attention_heads", where);
  if (has("self_attn.q_proj")) return heads;
  return FindOr<int64_t>(config, "num_key_value_heads", heads, where);
}

void UnpairRows(std::span<std::byte> rows, int64_t heads, size_t row_bytes) {
  MoveRows(rows, heads, row_bytes, false);
}

void PairRows(std::span<std::byte> rows, int64_t heads, size_t row_bytes) {
  MoveRows(rows, heads, row_bytes, true);
}

}  // namespace sophia::models
