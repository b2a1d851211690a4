// Fine-tuning steps against torch + transformers + peft (tests/fixtures/sft/runs.json), and with
// bitsandbytes (tests/fixtures/bitsandbytes/runs.json).
#include <gtest/gtest.h>

#include <cmath>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/io/safetensors.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/train/trainer.h"

namespace sophia::train {
namespace {

const std::filesystem::path kFixtures = SOPHIA_SOURCE_DIR "/tests/fixtures";

TrainEnvironment CpuEnvironment() { return {.client = pjrt::SharedCpuClient().shared_from_this()}; }

TrainOptions OptionsOf(const Json& run) {
  const Json& given = run["options"];
  TrainOptions options;
  options.model = kFixtures / run["base"].get<std::string>();
  if (run.contains("init_adapter")) {
    options.init_adapter = kFixtures / run["init_adapter"].get<std::string>();
  }
  options.data = {kFixtures / run["data"].get<std::string>()};
  options.dtype = DType::kF32;
  options.packing = false;
  options.shuffle = false;
  options.optimizer = given["optim"] == "sgd" ? OptimizerKind::kSgd : OptimizerKind::kAdamW;
  options.adam = {given.value("adam_beta1", 0.9), given.value("adam_beta2", 0.999),
                  given.value("adam_epsilon", 1e-8)};
  options.learning_rate = given["learning_rate"];
  options.loraplus_lr_ratio = given.value("loraplus_lr_ratio", 1.0);
  options.lr_scheduler = optim::ScheduleKindFromName(given["lr_scheduler_type"].get<std::string>());
  options.warmup_steps = given["warmup_steps"];
  options.weight_decay = given["weight_decay"];
  options.max_grad_norm = given["max_grad_norm"];
  options.max_steps = given["max_steps"];
  options.num_train_epochs = given["num_train_epochs"];
  options.batch = given["per_device_train_batch_size"];
  options.gradient_accumulation_steps = given["gradient_accumulation_steps"];
  options.max_length = given["max_length"];
  options.quant = run.value("quant", options.quant);
  return options;
}

// Largest difference of two adapters, each tensor's relative to its largest value.
double AdapterDifference(const std::filesystem::path& ours, const std::filesystem::path& theirs) {
  const io::SafetensorsFile a(ours);
  const io::SafetensorsFile b(theirs);
  EXPECT_EQ(a.tensors().size(), b.tensors().size());
  double worst = 0;
  for (const io::TensorInfo& info : b.tensors()) {
    std::vector<float> left(static_cast<size_t>(info.shape.elements()));
    std::vector<float> right(left.size());
    a.Read(info.name, DType::kF32, std::span(left));
    b.Read(info.name, DType::kF32, std::span(right));
    double largest = 0;
    double difference = 0;
    for (size_t i = 0; i < left.size(); ++i) {
      largest = std::max(largest, std::fabs(static_cast<double>(right[i])));
      difference = std::max(difference, std::fabs(static_cast<double>(left[i]) - right[i]));
    }
    worst = std::max(worst, difference / largest);
  }
  return worst;
}

void ExpectSteps(TrainingRun& ours, const Json& steps) {
  for (const Json& expected : steps) {
    const StepMetrics metrics = ours.Step(ours.NextBatch());
    const double loss = expected["loss"];
    const double norm = expected["grad_norm"];
    EXPECT_NEAR(metrics.loss, loss, 1e-5 * loss) << "step " << metrics.step;
    EXPECT_NEAR(metrics.grad_norm, norm, 1e-4 * norm) << "step " << metrics.step;
    EXPECT_NEAR(metrics.learning_rate, expected["learning_rate"].get<double>(), 1e-8);
  }
}

void ExpectRunAsInTorch(const Json& run, std::optional<pallas::Mode> kernels) {
  TrainOptions options = OptionsOf(run);
  options.kernels = kernels;
  TrainingRun ours(options, CpuEnvironment());
  ASSERT_EQ(ours.total_steps(), static_cast<int64_t>(run["steps"].size()));
  ExpectSteps(ours, run["steps"]);
  const TemporaryFolder folder;
  ours.SaveAdapter(folder.path());
  EXPECT_LT(AdapterDifference(folder.path() / "adapter_model.safetensors",
                              kFixtures / run["adapter_out"].get<std::string>()),
            1e-3);
}

class SftParityTest : public ::testing::TestWithParam<Json> {};

TEST_P(SftParityTest, MatchesTorchAndPeft) { ExpectRunAsInTorch(GetParam(), std::nullopt); }

std::vector<Json> Runs(const char* file = "sft/runs.json") {
  std::vector<Json> runs;
  for (const Json& run : ReadJson(kFixtures / file)) runs.push_back(run);
  return runs;
}

TEST(PissaTest, StepsAreThoseOfPeft) {
  const Json run = ReadJson(kFixtures / "sft/pissa.json");
  TrainOptions options = OptionsOf(run);
  const Json& lora = run["lora"];
  options.lora = {.rank = lora["r"],
                  .alpha = lora["lora_alpha"],
                  .targets = lora["target_modules"].get<std::vector<std::string>>()};
  options.lora.SetInit(lora["init_lora_weights"].get<std::string>());
  TrainingRun ours(options, CpuEnvironment());
  ASSERT_EQ(ours.total_steps(), static_cast<int64_t>(run["steps"].size()));
  ExpectSteps(ours, run["steps"]);
}

TEST(InterpretedKernelsTest, MatchTorchAndPeft) {
  for (const Json& run : Runs()) {
    const auto name = run["name"].get<std::string>();
    if (name != "all_linear_cosine" && name != "sgd_unclipped" && name != "saved") continue;
    SCOPED_TRACE(name);
    ExpectRunAsInTorch(run, pallas::Mode::kInterpret);
  }
}

TEST(GradientCheckpointingTest, MatchesTorchAndPeft) {
  const std::vector<Json> runs = Runs();
  const auto run =
      std::ranges::find(runs, "all_linear_accumulate", [](const Json& one) { return one["name"]; });
  ASSERT_NE(run, runs.end());
  TrainOptions options = OptionsOf(*run);
  const TrainingRun kept(options, CpuEnvironment());
  options.policy = MemoryPolicy::FromText("layers");
  TrainingRun ours(options, CpuEnvironment());
  const auto temporary = [](const TrainingRun& one) {
    return one.program().executable().executable().MemoryStats().temp;
  };
  EXPECT_LT(temporary(ours), temporary(kept));
  ExpectSteps(ours, (*run)["steps"]);
}

INSTANTIATE_TEST_SUITE_P(Runs, SftParityTest, ::testing::ValuesIn(Runs()),
                         [](const ::testing::TestParamInfo<Json>& info) {
                           return info.param["name"].get<std::string>();
                         });

// Of peft over bitsandbytes' layers: quantised on load, and of folders that were saved so.
INSTANTIATE_TEST_SUITE_P(QLora, SftParityTest, ::testing::ValuesIn(Runs("bitsandbytes/runs.json")),
                         [](const ::testing::TestParamInfo<Json>& info) {
                           return info.param["name"].get<std::string>();
                         });

}  // namespace
}  // namespace sophia::train
