// Losses of rows against torch + transformers + peft: tests/fixtures/evaluation/losses.json.
#include <gtest/gtest.h>

#include <cmath>

#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/lora/peft.h"
#include "sophia/models/kernel_choice.h"
#include "sophia/models/weights.h"
#include "sophia/nn/loss.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/train/run.h"
#include "sophia/train/setup.h"

namespace sophia::train {
namespace {

const std::filesystem::path kFixtures = SOPHIA_SOURCE_DIR "/tests/fixtures";

// The base model or an adapter on it, on the device.
class Model {
 public:
  Model(const std::filesystem::path& adapter, std::optional<pallas::Mode> kernels)
      : device_(pjrt::SharedCpuClient().default_device()),
        files_(models::ModelFiles::Open(kFixtures / "llama/gqa")) {
    TrainOptions options{.dtype = DType::kF32};
    if (!adapter.empty()) options.lora = lora::ReadAdapterConfig(adapter);
    plan_ = BuildModel(options, files_);
    plan_->policy->set_kernels(models::KernelsFor(device_, kernels));
    parameters_ = models::LoadParameters(files_, *plan_, device_, 1);
    if (!adapter.empty()) lora::LoadAdapter(adapter, plan_->specs(), device_, parameters_);
    for (pjrt::Buffer& buffer : parameters_) pointers_.push_back(&buffer);
  }

  EvaluationResult Evaluate(const EvaluatorOptions& options, const Dataset& dataset = Rows()) {
    Evaluator evaluator(dataset, *plan_, options);
    shape_ = evaluator.shape();
    evaluator.Compile(device_, nullptr);
    return evaluator.Run(pointers_);
  }
  // Of the last evaluation.
  const BatchShape& shape() const { return shape_; }

  static Dataset Rows() {
    return LoadDataset({{{kFixtures / "sft/rows.jsonl"}}, {.vocab = 128}, 32});
  }

 private:
  pjrt::Device device_;
  models::ModelFiles files_;
  std::unique_ptr<models::ModelPlan> plan_;
  std::vector<pjrt::Buffer> parameters_;
  std::vector<pjrt::Buffer*> pointers_;
  BatchShape shape_;
};

class EvaluationParityTest : public ::testing::TestWithParam<Json> {};

void ExpectAsInTorch(const EvaluationResult& ours, const Json& expected) {
  const double loss = expected["eval_loss"];
  EXPECT_NEAR(ours.loss(), loss, 1e-6 * loss);
  EXPECT_NEAR(ours.perplexity(), std::exp(loss), 1e-5 * std::exp(loss));
  ASSERT_EQ(ours.rows.size(), expected["rows"].size());
  for (size_t i = 0; i < ours.rows.size(); ++i) {
    const double sum = expected["rows"][i]["sum"];
    EXPECT_EQ(ours.rows[i].tokens, expected["rows"][i]["tokens"].get<int64_t>()) << "row " << i;
    EXPECT_NEAR(ours.rows[i].sum, sum, 2e-6 * sum) << "row " << i;
  }
}

Model ModelOf(const Json& expected, std::optional<pallas::Mode> kernels) {
  const Json& adapter = expected["adapter"];
  return {adapter.is_null() ? "" : kFixtures / adapter.get<std::string>(), kernels};
}

TEST_P(EvaluationParityTest, PackedAndUnpackedRowsMatchTorchAndPeft) {
  Model model = ModelOf(GetParam(), std::nullopt);
  for (const bool packing : {true, false}) {
    for (const int64_t batch : {3, 100}) {
      SCOPED_TRACE(fmt::format("packing {}, batch {}", packing, batch));
      ExpectAsInTorch(model.Evaluate({.batch = batch, .packing = packing}), GetParam());
    }
  }
}

std::vector<Json> Cases() {
  std::vector<Json> cases;
  for (const Json& one : ReadJson(kFixtures / "evaluation/losses.json")) cases.push_back(one);
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Adapters, EvaluationParityTest, ::testing::ValuesIn(Cases()),
                         [](const ::testing::TestParamInfo<Json>& info) {
                           const Json& adapter = info.param["adapter"];
                           if (adapter.is_null()) return std::string("base");
                           const std::filesystem::path path = adapter.get<std::string>();
                           return path.filename().string();
                         });

// Packed, and only few positions have a loss.
TEST(EvaluationShapesTest, GatheredPositionsHaveTheLossesOfRowsAlone) {
  Dataset answers = Model::Rows();
  for (Example& example : answers.examples) {
    for (size_t i = 0; i + 3 < example.labels.size(); ++i) example.labels[i] = nn::kIgnoredLabel;
  }
  Model model = ModelOf(Cases()[1], std::nullopt);
  const EvaluationResult packed = model.Evaluate({.batch = 3}, answers);
  EXPECT_TRUE(model.shape().packs && model.shape().gathers());
  const EvaluationResult alone = model.Evaluate({.batch = 1, .packing = false}, answers);
  ASSERT_EQ(packed.rows.size(), alone.rows.size());
  for (size_t i = 0; i < alone.rows.size(); ++i) {
    EXPECT_LE(alone.rows[i].tokens, 3);
    EXPECT_EQ(packed.rows[i].tokens, alone.rows[i].tokens);
    EXPECT_NEAR(packed.rows[i].sum, alone.rows[i].sum, 1e-5) << "row " << i;
  }
}

TEST(EvaluationKernelsTest, InterpretedMatchTorchAndPeft) {
  const Json expected = Cases()[1];
  ExpectAsInTorch(ModelOf(expected, pallas::Mode::kInterpret).Evaluate({.batch = 4}), expected);
}

// With a B that is not zero, dropout would show.
TEST(EvaluationDropoutTest, ThereIsNone) {
  TrainOptions options{
      .model = kFixtures / "llama/gqa",
      .data = {kFixtures / "sft/rows.jsonl"},
      .dtype = DType::kF32,
      .lora = {.rank = 4, .alpha = 8, .dropout = 0.5},
      .learning_rate = 0.1,
      .max_steps = 3,
      .batch = 2,
      .eval = {.data = {kFixtures / "sft/rows.jsonl"}, .strategy = EvalStrategy::kEpoch}};
  const auto run_of = [&] {
    return TrainingRun(options, {.client = pjrt::SharedCpuClient().shared_from_this()});
  };
  TrainingRun run = run_of();
  for (int i = 0; i < 3; ++i) run.Step(run.NextBatch());
  const double first = run.Evaluate().loss();
  EXPECT_EQ(run.Evaluate().loss(), first);
  const TemporaryFolder folder;
  run.SaveAdapter(folder.path());
  options.init_adapter = folder.path();
  EXPECT_EQ(run_of().Evaluate().loss(), first);
}

}  // namespace
}  // namespace sophia::train
