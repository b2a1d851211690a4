// SmolLM2 with its weights kept packed beside the same model with weights unpacked once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>

#include "sophia/base/error_for_test.h"
#include "sophia/base/file.h"
#include "sophia/generate/logits.h"
#include "sophia/models/quant_rule.h"
#include "sophia/models/weights.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/train/run.h"

namespace sophia {
namespace {

const std::filesystem::path kModel = SOPHIA_DEPS_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf";

std::vector<float> LogitsOf(const std::string& quant, const kernels::KernelTarget& target = {}) {
  const auto files = models::ModelFiles::Open(kModel);
  auto policy = std::make_unique<nn::ParamPolicy>(DType::kF32);
  policy->set_packing(models::QuantRule(files, models::QuantChoice::FromText(quant)).Function());
  policy->set_kernels(target);
  const models::ModelPlan plan(files.config(), files.config_name(), std::move(policy));
  std::vector<pjrt::Buffer> buffers =
      models::LoadParameters(files, plan, pjrt::SharedCpuClient().default_device(), 0);
  std::vector<pjrt::Buffer*> parameters;
  for (pjrt::Buffer& buffer : buffers) parameters.push_back(&buffer);
  const std::vector<int32_t> ids = {1, 504, 253, 29, 1823, 7};
  return generate::FullLogits(plan, parameters, {.ids = ids, .batch = 1, .seq = 6});
}

// Relative to the largest element of `expected`.
float LargestDifference(const std::vector<float>& got, const std::vector<float>& expected) {
  EXPECT_EQ(got.size(), expected.size());
  float range = 0;
  float difference = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    range = std::max(range, std::fabs(expected[i]));
    difference = std::max(difference, std::fabs(got[i] - expected[i]));
  }
  return difference / range;
}

// The sums of products run in another order.
TEST(PackedModelTest, LogitsAreTheSame) {
  EXPECT_LE(LargestDifference(LogitsOf("auto"), LogitsOf("none")), 5e-6F);
}

TEST(PackedModelTest, KernelsGiveTheSameLogits) {
  const kernels::KernelTarget interpreted{.mode = pallas::Mode::kInterpret};
  EXPECT_LE(LargestDifference(LogitsOf("auto", interpreted), LogitsOf("none")), 1e-5F);
}

struct Outcome {
  std::vector<double> losses;
  std::vector<double> grad_norms;
  pjrt::CompiledMemoryStats memory;
  int64_t frozen = 0;  // parameters
};

Outcome TrainTwoSteps(DType dtype, const std::string& quant) {
  const TemporaryFolder folder;
  const std::filesystem::path data = folder.path() / "rows.jsonl";
  std::ofstream rows(data);
  for (int i = 0; i < 4; ++i) rows << R"({"text": "Water boils at a hundred degrees."})" << '\n';
  rows.close();
  train::TrainOptions options{.model = kModel, .data = {data}, .dtype = dtype, .quant = quant};
  options.lora.rank = 4;
  options.batch = 2;
  options.max_steps = 2;
  options.learning_rate = 1e-3;
  options.max_length = 32;
  train::TrainingRun run(options, {.client = pjrt::SharedCpuClient().shared_from_this()});
  Outcome outcome{.memory = run.program().executable().executable().MemoryStats()};
  for (const nn::ParamSpec& spec : run.specs()) {
    if (!spec.trainable) outcome.frozen += spec.parameters();
  }
  for (int i = 0; i < 2; ++i) {
    const train::StepMetrics metrics = run.Step(run.NextBatch());
    outcome.losses.push_back(metrics.loss);
    outcome.grad_norms.push_back(metrics.grad_norm);
  }
  return outcome;
}

constexpr int64_t kLinear = 106168320;  // weights of all linear layers
constexpr int64_t kLargestLayer = kLinear / 30;

// The same run for every test, with weights unpacked once.
const Outcome& Inflated(DType dtype) {
  static std::map<DType, Outcome> outcomes;
  const auto found = outcomes.find(dtype);
  return found != outcomes.end()
             ? found->second
             : outcomes.emplace(dtype, TrainTwoSteps(dtype, "none")).first->second;
}

class PackedTrainingTest : public ::testing::TestWithParam<DType> {};

TEST_P(PackedTrainingTest, StepsAreTheSameInLessMemory) {
  const Outcome& inflated = Inflated(GetParam());
  const Outcome packed = TrainTwoSteps(GetParam(), "auto");
  EXPECT_EQ(packed.frozen, inflated.frozen);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(packed.losses[i], inflated.losses[i], 5e-6 * inflated.losses[i]) << "step " << i;
    EXPECT_NEAR(packed.grad_norms[i], inflated.grad_norms[i], 1e-5 * inflated.grad_norms[i])
        << "step " << i;
  }
  EXPECT_LT(packed.losses[1], packed.losses[0]);

  // 106.2 M linear weights take 5 bits instead of 16 or 32; one layer's are unpacked at a time.
  const int64_t bytes = Info(GetParam()).bits / 8;
  EXPECT_EQ(inflated.memory.argument - packed.memory.argument, kLinear * bytes - kLinear * 5 / 8);
  EXPECT_LT(packed.memory.temp - inflated.memory.temp, kLargestLayer * bytes);
}

INSTANTIATE_TEST_SUITE_P(Types, PackedTrainingTest, ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& test) { return std::string(Name(test.param)); });

// 4 bits an element and 8 + 32 / 256 a group of 64; the last 256 scales of each of 30 · 7 weights
// are filled up.
TEST(QuantisedTrainingTest, Nf4LearnsInLessMemory) {
  const Outcome& whole = Inflated(DType::kBF16);
  const Outcome quantised = TrainTwoSteps(DType::kBF16, "nf4");
  EXPECT_EQ(quantised.frozen, whole.frozen);
  for (const double loss : quantised.losses) EXPECT_TRUE(std::isfinite(loss));
  EXPECT_LT(quantised.losses[1], quantised.losses[0]);
  EXPECT_NEAR(quantised.losses[0], whole.losses[0], 0.2 * whole.losses[0]);
  const auto saved = static_cast<double>(whole.memory.argument - quantised.memory.argument);
  EXPECT_GT(saved, static_cast<double>(kLinear) * (16 - 4.14) / 8);
  EXPECT_LT(quantised.memory.temp - whole.memory.temp, 2 * kLargestLayer);
}

// SmolLM2's embedding is its head too: a byte for each of its numbers and a scale a row. The plain
// loss widens it while it computes.
TEST(QuantisedTrainingTest, AnInt8TableLearns) {
  constexpr int64_t kVocab = 49152;
  constexpr int64_t kWidth = 576;
  const Outcome& whole = Inflated(DType::kF32);
  const Outcome quantised = TrainTwoSteps(DType::kF32, "none,embed_tokens=int8");
  EXPECT_EQ(quantised.frozen, whole.frozen);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(quantised.losses[i], whole.losses[i], 0.02 * whole.losses[i]) << "step " << i;
    EXPECT_NE(quantised.losses[i], whole.losses[i]) << "step " << i;
  }
  EXPECT_LT(quantised.losses[1], quantised.losses[0]);
  EXPECT_EQ(whole.memory.argument - quantised.memory.argument, kVocab * (kWidth * 3 - 4));
}

TEST(QuantisedModelTest, LogitsStayNear) {
  const std::vector<float> whole = LogitsOf("none");
  for (const auto& [quant, share] :
       {std::pair{"int8", 0.1F}, {"int4_g32", 0.5F}, {"none,embed_tokens=int8", 0.05F}}) {
    EXPECT_LE(LargestDifference(LogitsOf(quant), whole), share) << quant;
    EXPECT_GT(LargestDifference(LogitsOf(quant), whole), 1e-4F) << quant;
  }
}

TEST(QuantRuleTest, NamesTheTensorThatCannotBeQuantised) {
  const auto files = models::ModelFiles::Open(kModel);
  const nn::ParamSpec odd{.path = "model.layers.{}.mlp.up_proj.weight", .dims = {64, 160}};
  EXPECT_THAT(MessageOf([&] { models::QuantRule(files, {"int4_g128"}).Function()(odd); }),
              ::testing::HasSubstr("[model.layers.{}.mlp.up_proj.weight] expected sizes [rows, in] "
                                   "with in a multiple of 128 for int4_g128, got [64, 160]; int8, "
                                   "int4_g32 would fit"));
  EXPECT_THAT(MessageOf([&] { models::QuantChoice::FromText("Q4_1"); }),
              ::testing::HasSubstr("got 'Q4_1'"));
}

TEST(QuantRuleTest, ModulesByName) {
  const auto files = models::ModelFiles::Open(SOPHIA_SOURCE_DIR "/tests/fixtures/llama/defaults");
  const models::QuantRule rule(
      files, models::QuantChoice::FromText(
                 "nf4, down_proj=int8,lm_head=int8,up_proj=int4,mlp.up_proj=none"));
  const auto format = [&](const std::string& path, bool is_table = false) -> std::string {
    const nn::ParamSpec spec{.path = path + ".weight", .dims = {64, 64}, .is_table = is_table};
    const quant::PackedFormat* found = rule.Function()(spec);
    return found == nullptr ? "none" : std::string(found->name);
  };
  EXPECT_EQ(format("model.layers.{}.self_attn.q_proj"), "nf4");
  EXPECT_EQ(format("model.layers.{}.mlp.down_proj"), "int8");
  EXPECT_EQ(format("model.layers.{}.mlp.up_proj"), "none");
  EXPECT_EQ(format("model.embed_tokens", true), "none");
  EXPECT_EQ(format("lm_head", true), "int8");
  rule.CheckNames({});
  const models::QuantRule unmet(files, models::QuantChoice::FromText("nf4,down=int8"));
  EXPECT_NE(unmet.Function()({.path = "mlp.down_proj.weight", .dims = {64, 64}}), nullptr);
  EXPECT_THAT(MessageOf([&] { unmet.CheckNames({}); }),
              ::testing::HasSubstr("[quant] expected names among down_proj, got 'down'"));
  const models::QuantRule head(files, models::QuantChoice::FromText("nf4,lm_head=nf4"));
  EXPECT_THAT(MessageOf([&] { head.Function()({.path = "lm_head.weight", .is_table = true}); }),
              ::testing::HasSubstr("expected none or int8 for 'lm_head', got 'nf4'"));
  for (const char* text :
       {"", "nf5", "nf4,lm_head", "nf4,=int8", "nf4,lm_head=auto", "nf4,a=int8,a=none"}) {
    EXPECT_THAT(MessageOf([&] { models::QuantChoice::FromText(text); }),
                ::testing::HasSubstr("[quant] expected "))
        << text;
  }
}

TEST(QuantRuleTest, KeepsPackedWhatAllLayersHaveInOneFormat) {
  const auto files = models::ModelFiles::Open(kModel);
  const nn::PackingRule rule = models::QuantRule(files, {}).Function();
  const nn::ParamSpec q{
      .path = "model.layers.{}.self_attn.q_proj.weight", .dims = {576, 576}, .layers = 30};
  ASSERT_NE(rule(q), nullptr);
  EXPECT_EQ(rule(q)->name, "Q4_1");
  nn::ParamSpec absent = q;
  absent.layers = 31;
  EXPECT_EQ(rule(absent), nullptr);
  nn::ParamSpec larger = q;
  larger.dims = {576, 1152};
  EXPECT_EQ(rule(larger), nullptr);
  EXPECT_EQ(rule({.path = "model.norm.weight", .dims = {576}}), nullptr);
  const auto folder = models::ModelFiles::Open(SOPHIA_SOURCE_DIR "/tests/fixtures/llama/defaults");
  EXPECT_EQ(models::QuantRule(folder, {}).Function()(q), nullptr);
}

}  // namespace
}  // namespace sophia
