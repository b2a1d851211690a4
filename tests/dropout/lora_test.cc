// Dropout of LoRA's branches: where it acts, when it is off, and how a run draws its masks.
#include <gmock/gmock.h>

#include "sophia/autodiff/autodiff.h"
#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/generate/logits.h"
#include "sophia/generate/programs.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/printer.h"
#include "sophia/nn/layer_stack.h"
#include "sophia/nn/layers.h"
#include "sophia/train/run.h"
#include "tests/dropout/masks.h"
#include "tests/generate/tiny_model.h"

namespace sophia::lora {
namespace {

namespace fs = std::filesystem;
using generate::Fixture;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kLayers = 2;
constexpr int64_t kSize = 64;

// Layers of which each has two linear layers with W = 0, A = B = 1 and scale 1, on an input of
// ones: q and v are the masks of their branches. Differentiated is the sum of (q + v) · w.
struct MaskLayers {
  explicit MaskLayers(nn::ParamTable& table)
      : policy(DType::kF32, {.rank = kSize, .alpha = kSize, .dropout = 0.5}),
        stack(nn::ParamScope(&table, &policy) / "layers", kLayers),
        q(stack.scope() / "q_proj", kSize, kSize),
        v(stack.scope() / "v_proj", kSize, kSize) {
    stack.Close();
  }

  LoraPolicy policy;
  nn::LayerStack stack;
  nn::Linear q;
  nn::Linear v;
};

class LoraDropoutTest : public ::testing::TestWithParam<Remat> {};

TEST_P(LoraDropoutTest, BranchesHaveMasksOfTheirOwnInBothPasses) {
  const auto results = RunWithDropout(7, [](nn::ParamTable& table) {
    MaskLayers layers(table);
    layers.policy.set_activations({.remat = GetParam()});
    const Shape square = {DType::kF32, {kSize, kSize}};
    const Shape stacked = {DType::kF32, {kLayers, kSize, kSize}};
    const Tensor eye = Convert(Eq(Iota(stacked, 1), Iota(stacked, 2)), DType::kF32);
    const Tensor w = Sin(Iota(square, 0) * 3.0 + Iota(square, 1));
    std::vector<Tensor> values;
    std::vector<size_t> trainable;
    for (const nn::ParamSpec& spec : table.specs()) {
      if (spec.trainable) trainable.push_back(values.size());
      values.push_back(spec.trainable ? eye : ZerosLike(eye));
    }
    table.Bind(values);
    const nn::LayerStack::Body body = [&](std::span<const Tensor> carry, std::span<const Tensor>,
                                          const Tensor&) {
      const Tensor x = Full(square, 1);
      const Tensor q = layers.q(x);
      const Tensor v = layers.v(x);
      return nn::LayerStack::Step{{carry[0] + Sum((q + v) * w)}, {q, v}};
    };
    const ValueAndGradResult result = ValueAndGrad(
        [&](std::span<const Tensor> p) -> Loss {
          for (size_t i = 0; i < p.size(); ++i) table.Set(trainable[i], p[i]);
          const auto last = layers.stack.Run(body, {Scalar(DType::kF32, 0)});
          return {last.carry[0], last.ys};
        },
        std::vector(trainable.size(), eye));
    std::vector<Tensor> outputs = result.aux;
    outputs.insert(outputs.end(), result.grads.begin(), result.grads.end());
    outputs.push_back(w);
    return outputs;
  });
  ASSERT_EQ(results.size(), 7u);
  std::vector<std::vector<float>> masks = Parts(results[0], kLayers);
  for (auto& mask : Parts(results[1], kLayers)) masks.push_back(mask);
  for (size_t a = 0; a < masks.size(); ++a) {
    ExpectKept(masks[a], 0.5);
    for (size_t b = 0; b < a; ++b) ExpectIndependent(masks[a], masks[b]);
  }
  // With A = B = 1 both their gradients are wᵀ · mask.
  const std::vector<float>& w = results[6];
  for (size_t module = 0; module < 2; ++module) {
    for (size_t i = 0; i < results[0].size(); ++i) {
      const size_t layer = i / (kSize * kSize);
      const size_t row = i / kSize % kSize;
      const size_t column = i % kSize;
      double expected = 0;
      for (size_t n = 0; n < kSize; ++n) {
        expected += w[n * kSize + row] * masks[module * kLayers + layer][n * kSize + column];
      }
      ASSERT_NEAR(results[2 + 2 * module][i], expected, 1e-4) << "A, " << i;
      ASSERT_NEAR(results[3 + 2 * module][i], expected, 1e-4) << "B, " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, LoraDropoutTest,
                         ::testing::Values(Remat::Everything(), Remat::Nothing(),
                                           train::SaveProducts()));

// A copy of the fixture's adapter with another dropout.
void CopyAdapter(const fs::path& to, double dropout) {
  const fs::path from = Fixture("sft/adapters/qv");
  Json config = ReadJson(from / "adapter_config.json");
  config["lora_dropout"] = dropout;
  fs::create_directories(to);
  WriteFile(to / "adapter_config.json", Dump(config));
  fs::copy_file(from / "adapter_model.safetensors", to / "adapter_model.safetensors");
}

TEST(LoraDropoutOffTest, LogitsAreThoseOfPeftInEvaluation) {
  const TemporaryFolder folder;
  CopyAdapter(folder.path() / "adapter", 0.5);
  const fs::path base = Fixture("llama/gqa");
  const generate::LoadedModel model(base, folder.path() / "adapter");
  const generate::IdArray ids =
      generate::ReadIds(io::SafetensorsFile(base / "ids.safetensors"), "ids");
  const generate::FloatArray expected = generate::ReadFloats(
      io::SafetensorsFile(Fixture("sft/adapters/qv/logits.safetensors")), "logits");
  EXPECT_LE(generate::RelativeError(
                generate::FullLogits(model.plan, model.parameters,
                                     {.ids = ids.values, .batch = ids.dims[0], .seq = ids.dims[1]}),
                expected.values),
            1e-4);
}

TEST(LoraDropoutOffTest, OnlyTheTrainingStepDraws) {
  const auto files = models::ModelFiles::Open(Fixture("llama/gqa"));
  const models::ModelPlan plan(
      files.config(), files.config_name(),
      std::make_unique<LoraPolicy>(DType::kF32, LoraConfig{.rank = 4, .dropout = 0.1}));
  // Threefry's parity word.
  const auto draws = HasSubstr("dense<466688986> : tensor<i32>");
  const train::TrainOptions options;
  const train::StepProgram step = train::TraceStep(
      plan, {.shape = {.accumulation = 2, .batch = 1, .seq = 8, .loss_positions = 8},
             .optimizer = train::OptimizerOf(options)});
  EXPECT_THAT(ToStableHlo(*step.graph), draws);
  EXPECT_THAT(ToStableHlo(*generate::TraceLogits(plan, 1, 8)), Not(draws));
  EXPECT_THAT(ToStableHlo(*generate::TracePrefill(plan, {1, 16}, 8)), Not(draws));
  EXPECT_THAT(ToStableHlo(*generate::TraceDecode(plan, {1, 16})), Not(draws));
}

// Runs on rows that are all the same and with a learning rate of zero: losses differ by their
// dropout alone.
class LoraDropoutRunTest : public ::testing::Test {
 protected:
  LoraDropoutRunTest() {
    std::string rows;
    for (int i = 0; i < 8; ++i)
      rows += R"({"input_ids": [5, 3, 9, 12, 7, 60, 2, 31]})"
              "\n";
    WriteFile(folder_.path() / "rows.jsonl", rows);
    CopyAdapter(folder_.path() / "adapter", 0.5);
  }

  std::vector<double> Losses(uint64_t seed, int64_t steps, int64_t accumulation = 1) {
    const train::TrainOptions options{.model = Fixture("llama/gqa"),
                                      .data = {folder_.path() / "rows.jsonl"},
                                      .init_adapter = folder_.path() / "adapter",
                                      .dtype = DType::kF32,
                                      .learning_rate = 0,
                                      .max_steps = steps,
                                      .batch = 1,
                                      .gradient_accumulation_steps = accumulation,
                                      .seed = seed};
    train::TrainingRun run(options, {.client = pjrt::SharedCpuClient().shared_from_this(),
                                     .cache = CompileCache(folder_.path() / "cache")});
    std::vector<double> losses;
    for (int64_t i = 0; i < steps; ++i) losses.push_back(run.Step(run.NextBatch()).loss);
    return losses;
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(LoraDropoutRunTest, EachStepAndMicroBatchDrawsAnew) {
  const std::vector<double> losses = Losses(1, 4);
  for (size_t a = 0; a < losses.size(); ++a) {
    for (size_t b = 0; b < a; ++b) EXPECT_NE(losses[a], losses[b]);
  }
  EXPECT_EQ(Losses(1, 4), losses);
  EXPECT_NE(Losses(2, 1)[0], losses[0]);
  // Two micro-batches a step draw what two steps draw.
  const std::vector<double> pairs = Losses(1, 2, 2);
  EXPECT_NEAR(pairs[0], (losses[0] + losses[1]) / 2, 1e-5);
  EXPECT_NEAR(pairs[1], (losses[2] + losses[3]) / 2, 1e-5);
}

}  // namespace
}  // namespace sophia::lora
