// SmolLM2 with its weights kept packed beside the same model with weights unpacked once.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "sophia/base/file.h"
#include "sophia/generate/logits.h"
#include "sophia/models/weights.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/train/run.h"

namespace sophia {
namespace {

const std::filesystem::path kModel = SOPHIA_DEPS_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf";

std::vector<float> LogitsOf(bool packed) {
  const auto files = models::ModelFiles::Open(kModel);
  auto policy = std::make_unique<nn::ParamPolicy>(DType::kF32);
  if (packed) policy->set_packing(files.PackingRule());
  const models::ModelPlan plan(files.config(), files.config_name(), std::move(policy));
  std::vector<pjrt::Buffer> buffers =
      models::LoadParameters(files, plan.specs(), pjrt::SharedCpuClient().default_device(), 0);
  std::vector<pjrt::Buffer*> parameters;
  for (pjrt::Buffer& buffer : buffers) parameters.push_back(&buffer);
  const std::vector<int32_t> ids = {1, 504, 253, 29, 1823, 7};
  return generate::FullLogits(plan, parameters, {.ids = ids, .batch = 1, .seq = 6});
}

TEST(PackedModelTest, LogitsAreTheSame) {
  const std::vector<float> inflated = LogitsOf(false);
  const std::vector<float> packed = LogitsOf(true);
  ASSERT_EQ(packed.size(), inflated.size());
  float range = 0;
  float difference = 0;
  for (size_t i = 0; i < packed.size(); ++i) {
    range = std::max(range, std::fabs(inflated[i]));
    difference = std::max(difference, std::fabs(packed[i] - inflated[i]));
  }
  EXPECT_LE(difference, 1e-6 * range);
}

struct Outcome {
  std::vector<double> losses;
  std::vector<double> grad_norms;
  pjrt::CompiledMemoryStats memory;
  int64_t frozen = 0;  // parameters
};

Outcome TrainTwoSteps(const std::filesystem::path& data, DType dtype, bool packed) {
  train::TrainOptions options{.model = kModel, .data = data, .dtype = dtype, .packed = packed};
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

class PackedTrainingTest : public ::testing::TestWithParam<DType> {};

TEST_P(PackedTrainingTest, StepsAreTheSameInLessMemory) {
  const TemporaryFolder folder;
  const std::filesystem::path data = folder.path() / "rows.jsonl";
  std::ofstream rows(data);
  for (int i = 0; i < 4; ++i) rows << R"({"text": "Water boils at a hundred degrees."})" << '\n';
  rows.close();
  const Outcome inflated = TrainTwoSteps(data, GetParam(), false);
  const Outcome packed = TrainTwoSteps(data, GetParam(), true);
  EXPECT_EQ(packed.frozen, inflated.frozen);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(packed.losses[i], inflated.losses[i], 1e-6 * inflated.losses[i]) << "step " << i;
    EXPECT_NEAR(packed.grad_norms[i], inflated.grad_norms[i], 1e-5 * inflated.grad_norms[i])
        << "step " << i;
  }
  EXPECT_LT(packed.losses[1], packed.losses[0]);

  // 106.2 M linear weights take 5 bits instead of 16 or 32; one layer's are unpacked at a time.
  constexpr int64_t kLinear = 106168320;
  constexpr int64_t kLargestLayer = kLinear / 30;
  const int64_t bytes = Info(GetParam()).bits / 8;
  EXPECT_EQ(inflated.memory.argument - packed.memory.argument, kLinear * bytes - kLinear * 5 / 8);
  EXPECT_LT(packed.memory.temp - inflated.memory.temp, kLargestLayer * bytes);
}

INSTANTIATE_TEST_SUITE_P(Types, PackedTrainingTest, ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& test) { return std::string(Name(test.param)); });

TEST(PackingRuleTest, KeepsPackedWhatAllLayersHaveInOneFormat) {
  const auto files = models::ModelFiles::Open(kModel);
  const nn::PackingRule rule = files.PackingRule();
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
  EXPECT_FALSE(folder.PackingRule());
}

}  // namespace
}  // namespace sophia
