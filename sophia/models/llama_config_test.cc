#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/base/error.h"
#include "sophia/models/gguf_llama.h"
#include "sophia/models/llama.h"
#include "sophia/models/registry.h"

namespace sophia::models {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

Json SmallConfig() {
  return {{"model_type", "llama"},  {"architectures", {"LlamaForCausalLM"}},
          {"hidden_size", 32},      {"intermediate_size", 48},
          {"num_hidden_layers", 2}, {"num_attention_heads", 4},
          {"vocab_size", 100}};
}

void ExpectError(const Json& changes, const std::string& part) {
  Json config = SmallConfig();
  config.update(changes);
  EXPECT_THAT([&] { LlamaConfig::FromJson(config, "config.json"); },
              ThrowsMessage<Error>(HasSubstr(part)));
}

TEST(LlamaConfigTest, DefaultsFollowTransformers) {
  const LlamaConfig config = LlamaConfig::FromJson(SmallConfig(), "config.json");
  EXPECT_EQ(config.max_positions, 2048);
  EXPECT_EQ(config.kv_heads, 4);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_FALSE(config.tied_embeddings);
  EXPECT_EQ(config.rope.theta, 10000);
}

TEST(LlamaConfigTest, SizesReachTheModel) {
  const nn::ParamPolicy policy(DType::kF32);
  nn::ParamTable table;
  Json json = SmallConfig();
  json.update({{"num_key_value_heads", 2}, {"head_dim", 6}, {"max_position_embeddings", 64}});
  const auto model = BuildModel(nn::ParamScope(&table, &policy), json, "config.json");
  const ModelSizes& sizes = model->sizes();
  EXPECT_EQ(sizes.vocab, 100);
  EXPECT_EQ(sizes.d_model, 32);
  EXPECT_EQ(sizes.layers, 2);
  EXPECT_EQ(sizes.heads, 4);
  EXPECT_EQ(sizes.max_positions, 64);
  EXPECT_EQ(model->CacheShape(3, 16, DType::kBF16), (Shape{DType::kBF16, {2, 3, 16, 2, 6}}));
}

TEST(LlamaConfigTest, MathsThatIsMissingIsAnError) {
  ExpectError({{"hidden_act", "gelu"}}, "expected 'hidden_act' silu, got 'gelu'");
  ExpectError({{"sliding_window", 128}}, "sliding_window");
  ExpectError({{"attn_logit_softcapping", 50.0}}, "got 'attn_logit_softcapping'");
  ExpectError({{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 2.0}}}}, "got 'yarn'");
  ExpectError({{"rope_parameters", {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}}},
              "got 'partial_rotary_factor'");
  ExpectError({{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}, {"attention_factor", 3.0}}}},
              "got 'attention_factor'");
  ExpectError({{"rope_frequency_divisors", "x"}}, "expected 4 numbers");
  ExpectError({{"rope_frequency_divisors", {1.0, 2.0}}}, "expected 4 numbers");
  ExpectError({{"quantization_config", {{"bits", 4}}}}, "quantization_config");
  ExpectError({{"num_key_value_heads", 3}}, "to divide 4 heads, got 3");
  ExpectError({{"hidden_size", "32"}}, "expected 'hidden_size' to be an integer");
  ExpectError({{"num_hidden_layers", 0}}, "above 0");
}

TEST(RegistryTest, UnknownArchitecturesNameTheKnownOnes) {
  const nn::ParamPolicy policy(DType::kF32);
  nn::ParamTable table;
  Json config = SmallConfig();
  config["model_type"] = "mamba";
  config["architectures"] = {"MambaForCausalLM"};
  EXPECT_THAT([&] { BuildModel(nn::ParamScope(&table, &policy), config, "config.json"); },
              ThrowsMessage<Error>(HasSubstr("LlamaForCausalLM (llama), got 'MambaForCausalLM'")));
}

TEST(GgufLlamaTest, NamesAndRowOrder) {
  EXPECT_EQ(LlamaGgufName("model.layers.12.self_attn.q_proj.weight"), "blk.12.attn_q.weight");
  EXPECT_EQ(LlamaGgufName("model.layers.0.input_layernorm.weight"), "blk.0.attn_norm.weight");
  EXPECT_EQ(LlamaGgufName("lm_head.weight"), "output.weight");
  EXPECT_THROW(LlamaGgufName("model.layers.0.weight"), Error);
  // Two heads of four rows of one byte: pairs (0, 2) and (1, 3) lie beside each other in the file.
  std::vector<std::byte> rows = {std::byte{0}, std::byte{2}, std::byte{1}, std::byte{3},
                                 std::byte{4}, std::byte{6}, std::byte{5}, std::byte{7}};
  UnpairRows(rows, 2, 1);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(std::to_integer<int>(rows[static_cast<size_t>(i)]), i);
}

}  // namespace
}  // namespace sophia::models
