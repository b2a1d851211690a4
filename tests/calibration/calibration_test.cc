// What the planner takes for a program's need, against the least memory with which libtpu compiles
// it to the end (xla_tpu_max_hbm_size_mib).
#include <gtest/gtest.h>

#include "sophia/base/json.h"
#include "sophia/lora/lora.h"
#include "sophia/models/kernel_choice.h"
#include "sophia/models/model_plan.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/plan/measure.h"
#include "sophia/train/setup.h"

namespace sophia::train {
namespace {

constexpr int64_t kSeq = 4096;

struct CalibrationCase {
  std::string name, policy;
  bool is_qlora = false;  // NF4 weights and the TPU's kernels, not bf16 and plain ops
};

StepProgram Step(const CalibrationCase& c) {
  const Json config = {{"model_type", "llama"},    {"vocab_size", 8192},
                       {"hidden_size", 1024},      {"intermediate_size", 4096},
                       {"num_hidden_layers", 16},  {"num_attention_heads", 8},
                       {"num_key_value_heads", 2}, {"max_position_embeddings", kSeq},
                       {"rms_norm_eps", 1e-5},     {"tie_word_embeddings", true}};
  auto policy = std::make_unique<lora::LoraPolicy>(DType::kBF16, lora::LoraConfig{.rank = 16});
  if (c.is_qlora) {
    policy->set_packing([](const nn::ParamSpec& spec) {
      return spec.is_table ? nullptr : quant::FindPackedFormat("nf4");
    });
  }
  const models::ModelPlan plan(config, "test", std::move(policy));
  const TrainOptions options{.policy = MemoryPolicy::FromText(c.policy)};
  const kernels::KernelTarget kernels =
      c.is_qlora ? models::KernelsFor(pallas::Chip::kV5e, std::nullopt) : kernels::KernelTarget{};
  plan.policy->set_kernels(kernels);
  return TraceStep(plan, StepOptionsOf(options, FullShape(kSeq, {.batch = 1}), kernels));
}

class CalibrationTest : public ::testing::TestWithParam<CalibrationCase> {};

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
  EXPECT_NEAR(early, least, 0.05 * least);
  EXPECT_GT(whole, 0.97 * least);
}

INSTANTIATE_TEST_SUITE_P(
    Policies, CalibrationTest,
    ::testing::Values(CalibrationCase{"products", "products"}, CalibrationCase{"layers", "layers"},
                      CalibrationCase{"offload", "layers,offload"},
                      CalibrationCase{"qlora", "layers,offload,tile=512", true}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace sophia::train
