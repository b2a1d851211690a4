// Packed batches against the same examples one a sequence: losses and gradients.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/io/safetensors.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/train/run.h"

namespace sophia::train {
namespace {

const std::filesystem::path kFixtures = SOPHIA_SOURCE_DIR "/tests/fixtures";

using Adapter = std::map<std::string, std::vector<float>>;

Adapter ReadAdapter(const std::filesystem::path& folder) {
  const io::SafetensorsFile file(folder / "adapter_model.safetensors");
  Adapter adapter;
  for (const io::TensorInfo& info : file.tensors()) {
    std::vector<float>& values = adapter[info.name];
    values.resize(static_cast<size_t>(info.shape.elements()));
    file.Read(info.name, DType::kF32, std::span(values));
  }
  return adapter;
}

class PackingTest : public ::testing::TestWithParam<std::string> {
 protected:
  // Rows of 3 to 20 tokens, of which some in front are not trained.
  PackingTest() {
    std::mt19937 random(5);
    std::string text;
    for (int row = 0; row < kRows; ++row) {
      Json ids = Json::array();
      Json labels = Json::array();
      const uint32_t length = 3 + random() % 18;
      const uint32_t prompt = random() % (length - 1);
      for (uint32_t i = 0; i < length; ++i) {
        ids.push_back(random() % 128);
        labels.push_back(i < prompt ? Json(-100) : ids.back());
      }
      text += Dump({{"input_ids", ids}, {"labels", labels}}) + "\n";
    }
    WriteFile(folder_.path() / "rows.jsonl", text);
  }

  TrainingRun RunOf(bool packing, double learning_rate) const {
    TrainOptions options{.model = kFixtures / "llama/gqa",
                         .data = {folder_.path() / "rows.jsonl"},
                         .init_adapter = kFixtures / "sft/adapters/qv",
                         .dtype = DType::kF32,
                         .optimizer = OptimizerKind::kSgd,
                         .learning_rate = learning_rate,
                         .lr_scheduler = optim::ScheduleKind::kConstant,
                         .max_grad_norm = 0,
                         .max_steps = 1,
                         .batch = kRows};
    options.packing = packing;
    options.shuffle = false;
    if (GetParam() == "checkpointing") options.policy = MemoryPolicy::FromText("layers");
    if (GetParam() == "accumulation") {
      options.batch = kRows / 4;
      options.gradient_accumulation_steps = 4;
    }
    return TrainingRun(options, {.client = pjrt::SharedCpuClient().shared_from_this()});
  }

  // One step of plain descent at rate 1 over all rows, which changes the adapter by its gradient.
  struct Outcome {
    StepMetrics metrics;
    BatchShape shape;
    Adapter adapter;
  };
  Outcome Step(bool packing) const {
    TrainingRun run = RunOf(packing, 1);
    Outcome outcome{.metrics = run.Step(run.NextBatch()), .shape = run.shape()};
    run.SaveAdapter(folder_.path() / "out");
    outcome.adapter = ReadAdapter(folder_.path() / "out");
    return outcome;
  }

  static constexpr int kRows = 24;
  TemporaryFolder folder_;
};

TEST_P(PackingTest, LossAndGradientsAreThoseOfUnpackedBatches) {
  const Adapter before = ReadAdapter(kFixtures / "sft/adapters/qv");
  const Outcome alone = Step(false);
  const Outcome packed = Step(true);
  ASSERT_FALSE(alone.shape.packs);
  ASSERT_TRUE(packed.shape.packs);
  EXPECT_EQ(packed.metrics.tokens, alone.metrics.tokens);
  EXPECT_NEAR(packed.metrics.loss, alone.metrics.loss, 1e-6 * alone.metrics.loss);
  EXPECT_NEAR(packed.metrics.grad_norm, alone.metrics.grad_norm, 1e-5 * alone.metrics.grad_norm);
  ASSERT_EQ(packed.adapter.size(), before.size());
  for (const auto& [name, values] : before) {
    double largest = 0;
    double difference = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const double expected = static_cast<double>(alone.adapter.at(name)[i]) - values[i];
      const double got = static_cast<double>(packed.adapter.at(name)[i]) - values[i];
      largest = std::max(largest, std::fabs(expected));
      difference = std::max(difference, std::fabs(got - expected));
    }
    EXPECT_GT(largest, 1e-4) << name;
    EXPECT_LT(difference, 1e-3 * largest) << name;
  }
}

// That the comparison above would notice what it is there for.
TEST_P(PackingTest, WithoutSegmentsOrPlacesTheLossIsAnother) {
  TrainingRun run = RunOf(true, 0);
  const Batch batch = run.NextBatch();
  const double loss = run.Step(batch).loss;
  Batch mixed = batch;
  for (int32_t& segment : mixed.segments) segment = 1;
  EXPECT_GT(std::fabs(run.Step(mixed).loss - loss), 1e-3 * loss);
  Batch unplaced = batch;
  for (int32_t& place : unplaced.places) place = 0;
  EXPECT_GT(std::fabs(run.Step(unplaced).loss - loss), 1e-4 * loss);
  EXPECT_EQ(run.Step(batch).loss, loss);
}

INSTANTIATE_TEST_SUITE_P(Steps, PackingTest,
                         ::testing::Values("plain", "accumulation", "checkpointing"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace sophia::train
