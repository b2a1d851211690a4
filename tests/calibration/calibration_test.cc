// What the planner takes for a program's need, against the least memory with which libtpu compiles
// it to the end (xla_tpu_max_hbm_size_mib).
#include <gtest/gtest.h>

#include "sophia/base/json.h"
#include "sophia/lora/lora.h"
#include "sophia/models/model_plan.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/plan/measure.h"
#include "sophia/train/setup.h"

namespace sophia::train {
namespace {

constexpr int64_t kSeq = 4096;

StepProgram Step(const std::string& policy) {
  const Json config = {{"model_type", "llama"},    {"vocab_size", 8192},
                       {"hidden_size", 1024},      {"intermediate_size", 4096},
                       {"num_hidden_layers", 16},  {"num_attention_heads", 8},
                       {"num_key_value_heads", 2}, {"max_position_embeddings", kSeq},
                       {"rms_norm_eps", 1e-5},     {"tie_word_embeddings", true}};
  const models::ModelPlan plan(
      config, "test",
      std::make_unique<lora::LoraPolicy>(DType::kBF16, lora::LoraConfig{.rank = 16}));
  const TrainOptions options{.policy = MemoryPolicy::FromText(policy)};
  return TraceStep(plan, StepOptionsOf(options, FullShape(kSeq, {.batch = 1})));
}

class CalibrationTest : public ::testing::TestWithParam<const char*> {};

// Between the early check's need and a tenth above, to 1 %.
int64_t LeastMemory(const plan::Target& target, const Graph& graph, int64_t early) {
  int64_t refused = early - early / 20;
  int64_t compiled = early + early / 10;
  EXPECT_TRUE(plan::EarlyNeed(target, graph, refused));
  EXPECT_FALSE(plan::EarlyNeed(target, graph, compiled));
  while (compiled - refused > early / 100) {
    const int64_t middle = (refused + compiled) / 2;
    (plan::EarlyNeed(target, graph, middle) ? refused : compiled) = middle;
  }
  return compiled;
}

TEST_P(CalibrationTest, TheEarlyCheckAsksForWhatCompiles) {
  const plan::Target target = plan::FindTarget("v5e:1x1", pjrt::TpuPlugin());
  const StepProgram step = Step(GetParam());
  const auto early = static_cast<double>(plan::EarlyNeed(target, *step.graph, 0).value());
  const auto whole = static_cast<double>(plan::CompileForTpu(target, *step.graph).need);
  const auto least =
      static_cast<double>(LeastMemory(target, *step.graph, static_cast<int64_t>(early)));
  fmt::print("early check {:.0f}, least that compiles {:.0f}, taken where there is room {:.0f}\n",
             early, least, whole);
  EXPECT_NEAR(early, least, 0.04 * least);
  EXPECT_GT(whole, 0.97 * least);
}

INSTANTIATE_TEST_SUITE_P(Policies, CalibrationTest,
                         ::testing::Values("products", "layers", "layers,offload"));

}  // namespace
}  // namespace sophia::train
