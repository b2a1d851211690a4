#include "sophia/lora/lora.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/lora/module_scale.h"
#include "sophia/lora/peft.h"
#include "sophia/nn/layers.h"

namespace sophia::lora {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Paths of the adapted parameters of a model of 3 layers with q_proj and v_proj.
std::vector<std::string> Adapted(const Targets& targets) {
  const LoraPolicy policy(DType::kF32, {.rank = 4, .targets = targets});
  nn::ParamTable table;
  const nn::ParamScope layers = nn::ParamScope(&table, &policy) / "model.layers";
  const nn::Linear q(layers.Layers(3) / "self_attn.q_proj", 8, 8);
  const nn::Linear v(layers.Layers(3) / "self_attn.v_proj", 8, 6);
  policy.CheckTargets();
  std::vector<std::string> paths;
  for (const nn::ParamSpec& spec : table.specs()) {
    if (!spec.trainable || spec.path.find("lora_A") == std::string::npos) continue;
    for (const int64_t layer : spec.PresentLayers()) paths.push_back(spec.PathOf(layer));
  }
  return paths;
}

std::string A(int layer, const std::string& module) {
  return fmt::format("model.layers.{}.self_attn.{}.lora_A.weight", layer, module);
}

TEST(LoraPolicyTest, TargetsByNameListRegexAndAllLinear) {
  using List = std::vector<std::string>;
  EXPECT_THAT(Adapted(List{"v_proj"}), ElementsAre(A(0, "v_proj"), A(1, "v_proj"), A(2, "v_proj")));
  EXPECT_EQ(Adapted(std::string("all-linear")).size(), 6u);
  EXPECT_THAT(Adapted(std::string(R"(.*\.[02]\.self_attn\.q_proj)")),
              ElementsAre(A(0, "q_proj"), A(2, "q_proj")));
  EXPECT_THAT(Adapted(List{"model.layers.1.self_attn.q_proj"}), ElementsAre(A(1, "q_proj")));
}

TEST(LoraPolicyTest, UnknownTargetsAreErrors) {
  EXPECT_THAT([] { Adapted(std::vector<std::string>{"q_prj"}); },
              ThrowsMessage<Error>(HasSubstr("did you mean 'q_proj'?")));
  EXPECT_THAT([] { Adapted(std::string("nothing")); },
              ThrowsMessage<Error>(HasSubstr("got no match")));
}

TEST(LoraConfigTest, ScaleAndRanges) {
  EXPECT_DOUBLE_EQ((LoraConfig{.rank = 16, .alpha = 32}.scale()), 2.0);
  EXPECT_DOUBLE_EQ((LoraConfig{.rank = 16, .alpha = 32, .rs_lora = true}.scale()), 8.0);
  EXPECT_THROW((LoraConfig{.rank = 0}.Check("x")), Error);
  EXPECT_THROW((LoraConfig{.dropout = 1}.Check("x")), Error);
  EXPECT_THROW((LoraConfig{.targets = std::string("(")}.Check("x")), Error);
}

TEST(LoraPolicyTest, RanksAndScalesByPattern) {
  const LoraConfig config{
      .rank = 4,
      .alpha = 8,
      .rank_pattern = {{"layers.0.self_attn.q_proj", 2}, {"[qk]_proj", 6}, {"proj", 9}},
      .alpha_pattern = {{R"(.*\.1\..*)", 3}}};
  const ModuleScales scales(config);
  const auto of = [&](const std::string& module) { return scales.Of("model." + module); };
  EXPECT_EQ(of("layers.0.self_attn.q_proj"), (ModuleScale{2, 4}));
  EXPECT_EQ(of("layers.1.self_attn.q_proj"), (ModuleScale{6, 0.5}));
  EXPECT_EQ(of("layers.0.self_attn.v_proj"), (ModuleScale{4, 2}));
  EXPECT_EQ(of("otherlayers.0.self_attn.q_proj"), (ModuleScale{6, 8.0 / 6}));
  EXPECT_EQ(scales.Unused({"a.0.q_proj", "layers.0.self_attn.q_proj"}), "proj");

  const LoraPolicy policy(DType::kF32, config);
  nn::ParamTable table;
  const nn::ParamScope layers = nn::ParamScope(&table, &policy) / "model.layers";
  const nn::Linear q(layers.Layers(3) / "self_attn.q_proj", 8, 5);
  const nn::Linear v(layers.Layers(3) / "self_attn.v_proj", 8, 5);
  std::vector<std::string> shapes;
  for (const nn::ParamSpec& spec : table.specs()) {
    if (!spec.trainable) continue;
    shapes.push_back(ToString(spec.shape().dims));
    for (int64_t layer = 0; layer < 3; ++layer) shapes.back() += " " + ToString(spec.DimsOf(layer));
  }
  EXPECT_THAT(shapes,
              ElementsAre("[3, 6, 8] [2, 8] [6, 8] [6, 8]", "[3, 5, 6] [5, 2] [5, 6] [5, 6]",
                          "[3, 4, 8] [4, 8] [4, 8] [4, 8]", "[3, 5, 4] [5, 4] [5, 4] [5, 4]"));
  EXPECT_EQ(table.specs()[1].parameters(), (2 + 6 + 6) * 8);
  EXPECT_THAT(
      [&] { policy.CheckPatterns(); },
      ThrowsMessage<Error>(HasSubstr("expected 'proj' to match the end of a target module's "
                                     "path, as model.layers.0.self_attn.q_proj, got no match")));
  EXPECT_THROW((LoraConfig{.rank_pattern = {{"q_proj", 0}}}.Check("x")), Error);
  EXPECT_THROW((LoraConfig{.alpha_pattern = {{"q_proj", 0}}}.Check("x")), Error);
  EXPECT_THROW((LoraConfig{.alpha_pattern = {{"(", 1}}}.Check("x")), Error);
}

TEST(PeftTest, RefusesAdaptersWhoseMathsIsMissing) {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& json) {
    WriteFile(folder.path() / "adapter_config.json", json);
    return ReadAdapterConfig(folder.path());
  };
  const LoraConfig config =
      read(R"({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]})");
  EXPECT_EQ(config.rank, 4);
  EXPECT_EQ(config.scale(), 2.0);
  EXPECT_THAT([&] { read(R"({"peft_type": "IA3", "target_modules": ["q_proj"]})"); },
              ThrowsMessage<Error>(HasSubstr("expected 'peft_type' LORA")));
  EXPECT_TRUE(
      read(R"({"peft_type": "LORA", "use_dora": true, "target_modules": ["q_proj"]})").use_dora);
  const auto read_with = [&](const std::string& members) {
    return read(R"({"peft_type": "LORA", "target_modules": ["q_proj"], )" + members + "}");
  };
  EXPECT_NO_THROW(read_with(R"("new_key": null, "init_lora_weights": "gaussian")"));
  EXPECT_THAT([&] { read_with(R"("new_key": {"a": 1})"); },
              ThrowsMessage<Error>(HasSubstr("expected no 'new_key', got {\"a\":1}")));
  EXPECT_THAT([&] { read_with(R"("bias": "all")"); },
              ThrowsMessage<Error>(HasSubstr("expected 'bias' none, got 'all'")));
  EXPECT_THAT([&] { read_with(R"("init_lora_weights": "pissa_niter_4")"); },
              ThrowsMessage<Error>(AllOf(HasSubstr("expected 'init_lora_weights' that keeps"),
                                         HasSubstr("got \"pissa_niter_4\""))));
  EXPECT_THAT([&] { read(R"({"peft_type": "LORA"})"); },
              ThrowsMessage<Error>(HasSubstr("target_modules")));
  EXPECT_THAT([] { ReadAdapterConfig("/no/such/folder"); },
              ThrowsMessage<Error>(HasSubstr("expected an adapter folder")));
}

TEST(PeftTest, AnInterruptedSaveLeavesNoOlderConfiguration) {
  const TemporaryFolder folder;
  const nn::ParamSpec spec{
      .path = "q_proj.lora_A.weight", .dims = {2, 1}, .dtype = DType::kF32, .trainable = true};
  const std::vector<std::vector<std::byte>> values(1, std::vector<std::byte>(8));
  const auto save = [&](double alpha) {
    SaveAdapter(folder.path(), {.rank = 2, .alpha = alpha}, {spec}, values, "base");
  };
  save(4);
  EXPECT_EQ(ReadAdapterConfig(folder.path()).alpha, 4);
  save(8);
  EXPECT_EQ(ReadAdapterConfig(folder.path()).alpha, 8);
  // The tensors cannot be renamed onto a folder: the save ends there.
  const auto tensors = folder.path() / "adapter_model.safetensors";
  std::filesystem::remove(tensors);
  std::filesystem::create_directory(tensors);
  EXPECT_THAT([&] { save(16); }, ThrowsMessage<Error>(HasSubstr("expected to rename into place")));
  EXPECT_THAT([&] { ReadAdapterConfig(folder.path()); },
              ThrowsMessage<Error>(HasSubstr("adapter_config.json] expected a readable file")));
}

}  // namespace
}  // namespace sophia::lora
