#include "sophia/train/memory_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/base/error.h"

namespace sophia::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(MemoryPolicyTest, ReadsEveryLever) {
  const auto policy =
      MemoryPolicy::FromText("attention+lora, every=4,offload,tile=512,kv_heads=2,loss_chunk=64");
  EXPECT_EQ(policy.activations.remat.keep, Remat::Keep::kNamed);
  EXPECT_THAT(policy.activations.remat.names, ElementsAre("attention", "lora"));
  EXPECT_EQ(policy.activations.layers_per_input, 4);
  EXPECT_TRUE(policy.activations.offloads_inputs);
  EXPECT_EQ(policy.activations.tile, 512);
  EXPECT_EQ(policy.activations.kv_heads, 2);
  EXPECT_EQ(policy.loss_chunk, 64);
}

TEST(MemoryPolicyTest, TextsComeBack) {
  for (const char* text :
       {"products", "everything", "layers", "attention", "linear+lora", "layers,every=2,offload",
        "layers,offload,tile=2048", "layers,tile=512,kv_heads=1", "layers,offload,prefetch",
        "products,offload_tables", "products,loss_chunk=512"}) {
    EXPECT_EQ(MemoryPolicy::FromText(text).ToString(), text);
  }
  EXPECT_EQ(MemoryPolicy().ToString(), "products");
  EXPECT_EQ(MemoryPolicy::FromText("offload").ToString(), "products,offload");
  EXPECT_EQ(MemoryPolicy::FromText("linear+attention+lora").ToString(), "products");
}

TEST(MemoryPolicyTest, TriesWhatTheLayersAndTheDeviceAllow) {
  const auto texts = [](int64_t layers, int64_t length, bool has_host, int64_t kv_heads = 2) {
    std::vector<std::string> result;
    const models::ModelSizes sizes{.layers = layers, .kv_heads = kv_heads};
    for (const MemoryPolicy& policy : PoliciesToTry(sizes, length, has_host)) {
      result.push_back(policy.ToString());
    }
    return result;
  };
  EXPECT_THAT(
      texts(8, 4096, true),
      ElementsAre("products", "layers", "layers,tile=2048", "layers,offload,prefetch,tile=2048",
                  "layers,offload,tile=2048", "layers,offload,tile=512", "layers,every=4,tile=2048",
                  "layers,offload,tile=512,kv_heads=1"));
  EXPECT_THAT(texts(8, 512, true, 1), ElementsAre("products", "layers", "layers,offload,prefetch",
                                                  "layers,offload", "layers,every=4"));
  EXPECT_THAT(texts(30, 4096, false), ElementsAre("products", "layers", "layers,tile=2048"));
  EXPECT_THAT(texts(8, 2048, true),
              ElementsAre("products", "layers", "layers,offload,prefetch", "layers,offload",
                          "layers,offload,tile=512", "layers,every=4",
                          "layers,offload,tile=512,kv_heads=1"));
}

TEST(MemoryPolicyTest, OtherTextsAreRefused) {
  for (const char* text : {"", "layer", "products,", "linear+mlp", "every", "mlp_tile=3"}) {
    EXPECT_THAT([&] { MemoryPolicy::FromText(text); },
                ThrowsMessage<Error>(HasSubstr("[policy] expected everything, products, layers, ")))
        << text;
  }
  EXPECT_THAT([] { MemoryPolicy::FromText("layers,prefetch"); },
              ThrowsMessage<Error>(HasSubstr("[policy] expected offload beside prefetch")));
  for (const char* text : {"every=0", "tile=", "kv_heads=0", "loss_chunk=1k", "every=-1"}) {
    EXPECT_THAT(
        [&] { MemoryPolicy::FromText(text); },
        ThrowsMessage<Error>(HasSubstr("[policy] expected a whole number above 0 after '=', got '" +
                                       std::string(text))))
        << text;
  }
}

}  // namespace
}  // namespace sophia::train
