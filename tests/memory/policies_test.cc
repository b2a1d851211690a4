// Memory policies leave loss and gradients as they are, and save what they claim by the compiler's
// own figures for a TPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "sophia/base/error_for_test.h"
#include "sophia/base/file.h"
#include "sophia/models/kernel_choice.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/plan/measure.h"
#include "sophia/runtime/program.h"
#include "sophia/train/run.h"
#include "sophia/train/setup.h"
#include "sophia/train/trainer.h"

namespace sophia::train {
namespace {

const std::filesystem::path kFixtures = SOPHIA_SOURCE_DIR "/tests/fixtures";

// SGD without clipping moves a parameter by the learning rate times its gradient. At this rate
// nothing is left of where it was.
constexpr double kHugeRate = 1e10;

struct StepResult {
  double loss = 0;
  double grad_norm = 0;
  std::vector<std::vector<float>> gradients;  // times a factor
};

struct StepSetup {
  int64_t accumulation = 1;
  std::optional<pallas::Mode> kernels = std::nullopt;
  std::string model = "llama/gqa";
  std::string adapter = "sft/adapters/all_linear";
  DType dtype = DType::kF32;
};

StepResult StepWith(const std::string& policy, const StepSetup& setup = {}) {
  TrainingRun run({.model = kFixtures / setup.model,
                   .data = {kFixtures / "sft/rows.jsonl"},
                   .init_adapter = kFixtures / setup.adapter,
                   .dtype = setup.dtype,
                   .kernels = setup.kernels,
                   .optimizer = OptimizerKind::kSgd,
                   .learning_rate = kHugeRate,
                   .lr_scheduler = optim::ScheduleKind::kConstant,
                   .max_grad_norm = 0,
                   .max_steps = 1,
                   .batch = 4,
                   .gradient_accumulation_steps = setup.accumulation,
                   .policy = MemoryPolicy::FromText(policy)},
                  {.client = pjrt::SharedCpuClient().shared_from_this()});
  const StepMetrics metrics = run.Step(run.NextBatch());
  StepResult result{.loss = metrics.loss, .grad_norm = metrics.grad_norm};
  for (const std::vector<std::byte>& bytes : run.State().trainable) {
    std::vector<float>& values = result.gradients.emplace_back(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
  }
  return result;
}

// |a - b| / |b|, in the Euclidean norm.
double Difference(const std::vector<float>& a, const std::vector<float>& b) {
  double norm = 0;
  double difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    norm += std::pow(b[i], 2.0);
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2.0);
  }
  return std::sqrt(difference / norm);
}

// What the rounding of a step that is compiled in another way may move, relatively.
struct Bounds {
  double loss;    // and the norm of all gradients
  double matrix;  // the gradient of one matrix
};
constexpr Bounds kF32{.loss = 1e-6, .matrix = 3e-6};  // seen: 3e-7, 2.1e-6
// XLA's fusions round the same values in other ways; without them only other orders of sums do.
constexpr Bounds kUnfused{.loss = 1e-6, .matrix = 1e-6};  // seen: 6.9e-7, products 0
constexpr Bounds kTiles{.loss = 1e-6, .matrix = 2e-5};    // of packed weights; seen: 9e-8, 1.04e-5
constexpr Bounds kBFloat16{.loss = 1e-3, .matrix = 0.015};  // seen: 7.2e-4, 0.0095

void ExpectSame(const StepResult& a, const StepResult& b, const Bounds& bounds = kF32) {
  EXPECT_NEAR(a.loss, b.loss, bounds.loss * b.loss);
  EXPECT_NEAR(a.grad_norm, b.grad_norm, bounds.loss * b.grad_norm);
  ASSERT_EQ(a.gradients.size(), b.gradients.size());
  for (size_t i = 0; i < a.gradients.size(); ++i) {
    EXPECT_LT(Difference(a.gradients[i], b.gradients[i]), bounds.matrix) << i;
  }
}

std::string TestName(const ::testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  for (char& c : name) c = std::isalnum(c) != 0 ? c : '_';
  return name;
}

class PolicyTest : public ::testing::TestWithParam<const char*> {};

TEST_P(PolicyTest, LeavesLossAndGradientsAsTheyAre) {
  static const StepResult kEverything = StepWith("everything");
  EXPECT_GT(kEverything.grad_norm, 0);
  ExpectSame(StepWith(GetParam()), kEverything);
}

INSTANTIATE_TEST_SUITE_P(
    Levers, PolicyTest,
    ::testing::Values("products", "layers", "attention", "layers,offload",
                      "products,every=2,offload", "everything,tile=5", "layers,offload,prefetch",
                      "layers,loss_chunk=3", "products,offload_tables", "layers,offload,tile=5",
                      "layers,kv_heads=1", "products,kv_heads=1,tile=5",
                      "layers,every=2,offload,prefetch,tile=4,loss_chunk=1000"),
    TestName);

// In a run of the program with XLA_FLAGS=--xla_disable_hlo_passes=fusion.
class UnfusedPolicyTest : public ::testing::TestWithParam<const char*> {};

TEST_P(UnfusedPolicyTest, LeavesEveryMatrixsGradientAsItIs) {
  const char* flags = std::getenv("XLA_FLAGS");
  if (flags == nullptr || std::strstr(flags, "xla_disable_hlo_passes=fusion") == nullptr) {
    GTEST_SKIP() << "memory_unfused runs it";
  }
  static const StepResult kEverything = StepWith("everything");
  ExpectSame(StepWith(GetParam()), kEverything, kUnfused);
}

INSTANTIATE_TEST_SUITE_P(Unfused, UnfusedPolicyTest,
                         ::testing::Values("products", "layers,offload,prefetch",
                                           "products,every=2,offload", "layers,loss_chunk=3"),
                         TestName);

class OtherWeightsTest : public ::testing::TestWithParam<const char*> {};

TEST_P(OtherWeightsTest, LeaveBFloat16StepsAsTheyAre) {
  static const StepSetup kSetup{.dtype = DType::kBF16};
  static const StepResult kEverything = StepWith("everything", kSetup);
  ExpectSame(StepWith(GetParam(), kSetup), kEverything, kBFloat16);
}

// The kernels compute the same in any order; only tiles and groups of heads give them other sums.
TEST_P(OtherWeightsTest, LeaveQuantisedStepsThroughKernelsAsTheyAre) {
  static const StepSetup kSetup{.kernels = pallas::Mode::kInterpret,
                                .model = "bitsandbytes/nested",
                                .adapter = "bitsandbytes/adapter"};
  static const StepResult kEverything = StepWith("everything", kSetup);
  EXPECT_GT(kEverything.grad_norm, 0);
  const StepResult result = StepWith(GetParam(), kSetup);
  const std::string_view policy = GetParam();
  if (policy.find("tile") != policy.npos || policy.find("kv_heads") != policy.npos) {
    ExpectSame(result, kEverything, kTiles);
  } else {
    EXPECT_EQ(result.loss, kEverything.loss);
    EXPECT_EQ(result.gradients, kEverything.gradients);
  }
}

INSTANTIATE_TEST_SUITE_P(Levers, OtherWeightsTest,
                         ::testing::Values("products", "layers,every=2,offload,prefetch",
                                           "layers,offload,tile=5", "layers,kv_heads=1"),
                         TestName);

// Gradients of every adapter matrix through the kernels' own backward passes.
TEST(KernelModeTest, InterpretedKernelsGiveTheReferencesGradients) {
  const StepResult interpreted = StepWith("products", {.kernels = pallas::Mode::kInterpret});
  const StepResult references = StepWith("products", {.kernels = pallas::Mode::kReference});
  EXPECT_NEAR(interpreted.loss, references.loss, 1e-6 * references.loss);
  ASSERT_EQ(interpreted.gradients.size(), references.gradients.size());
  for (size_t i = 0; i < references.gradients.size(); ++i) {
    EXPECT_LT(Difference(interpreted.gradients[i], references.gradients[i]), 1e-5) << i;
  }
}

TEST(PolicyTest, AllLeversWithAccumulation) {
  ExpectSame(StepWith("layers,every=2,offload,tile=4", {.accumulation = 2}),
             StepWith("everything", {.accumulation = 2}));
}

TEST(PolicyTest, TheGroupsOfHeadsMustBeEqual) {
  EXPECT_THAT(
      [] { StepWith("layers,kv_heads=3"); },
      ::testing::ThrowsMessage<Error>(::testing::HasSubstr(
          "[policy] expected kv_heads=N with N a divisor of the model's 2 KV heads, got 3")));
}

TEST(PolicyTest, TheGroupsOfLayersMustBeEqual) {
  EXPECT_THAT([] { StepWith("layers,every=3"); },
              ::testing::ThrowsMessage<Error>(::testing::HasSubstr(
                  "[policy] expected the input of every k-th layer kept, with k "
                  "a divisor of 2 layers, got 3")));
}

TrainOptions TwoSteps() {
  return {.model = kFixtures / "llama/gqa",
          .data = {kFixtures / "sft/rows.jsonl"},
          .dtype = DType::kF32,
          .lora = {.rank = 2},
          .max_steps = 2,
          .batch = 2};
}

// An environment in which only `fitting` fits.
TrainEnvironment OnlyFits(const std::string& fitting) {
  return {.client = pjrt::SharedCpuClient().shared_from_this(),
          .on_compiled = [fitting](const Program&, const MemoryPolicy& policy) {
            return policy.ToString() == fitting;
          }};
}

TEST(ChosenPolicyTest, IsTheFirstThatFits) {
  EXPECT_EQ(TrainingRun(TwoSteps(), OnlyFits("products")).options().policy->ToString(), "products");
  EXPECT_EQ(TrainingRun(TwoSteps(), OnlyFits("layers")).options().policy->ToString(), "layers");
  EXPECT_THAT([] { TrainingRun(TwoSteps(), OnlyFits("nothing")); },
              ::testing::ThrowsMessage<Error>(::testing::HasSubstr(
                  "[policy] expected a policy with which the step fits, got none")));
}

TEST(ChosenPolicyTest, OneThatIsNamedIsUsedThoughItDoesNotFit) {
  TrainOptions options = TwoSteps();
  options.policy = MemoryPolicy::FromText("layers");
  TrainingRun run(options, OnlyFits("products"));
  EXPECT_EQ(run.options().policy->ToString(), "layers");
  EXPECT_GT(run.Step(run.NextBatch()).loss, 0);
}

TEST(ChosenPolicyTest, EvaluationMustFitBesideTheOptimizersState) {
  TrainOptions options = TwoSteps();
  options.eval = {.data = {kFixtures / "sft/rows.jsonl"}, .strategy = EvalStrategy::kSteps};
  TrainEnvironment environment{.client = pjrt::SharedCpuClient().shared_from_this()};
  int64_t beside = 0;
  environment.on_evaluation_compiled = [&beside](const Program& program, int64_t state) {
    beside = state;
    return program.outputs()[0].name != "losses";
  };
  EXPECT_THAT([&] { TrainingRun(options, environment); },
              ::testing::ThrowsMessage<Error>(::testing::HasSubstr(
                  "[evaluation] expected a program that fits beside the optimiser's state, got one "
                  "of 8 sequences; fewer (--per-device-eval-batch-size) take less")));
  const models::ModelFiles files = models::ModelFiles::Open(options.model);
  const auto model = BuildModel(options, files);
  int64_t adapters = 0;
  for (const nn::ParamSpec& spec : model->specs()) {
    if (spec.trainable) adapters += spec.shape().bytes();
  }
  EXPECT_EQ(beside, 2 * adapters);  // AdamW's moments
}

TEST(ChosenPolicyTest, StaysWhenTheRunGoesOn) {
  const TemporaryFolder folder;
  OutputOptions output{.folder = folder.path() / "out", .save = {.steps = 1}};
  Train(TwoSteps(), OnlyFits("layers"), output, nullptr);
  const Checkpoint first(output.folder / "checkpoint-1");
  EXPECT_EQ(first.policy().ToString(), "layers");
  const TrainingRun again(TwoSteps(), OnlyFits("products"), {}, &first);
  EXPECT_EQ(again.options().policy->ToString(), "layers");
  EXPECT_EQ(again.done(), 1);
}

// What libtpu's early check wants for a step on v5e with next to no memory, where it saves what it
// can. The sizes make the value that a lever is about larger than what the chip holds itself.
class PolicyMemoryTest : public ::testing::Test {
 protected:
  static constexpr int64_t kSeq = 2048;
  static constexpr int64_t kHead = 128;
  static constexpr int64_t kLarge = 65536;

  int64_t input() const { return kSeq * width_ * 2; }  // bytes of one layer's input

  StepProgram Trace(const std::string& policy) const {
    const Json config = {{"model_type", "llama"},
                         {"vocab_size", vocab_},
                         {"hidden_size", width_},
                         {"intermediate_size", inner_},
                         {"num_hidden_layers", layers_},
                         {"num_attention_heads", heads_},
                         {"num_key_value_heads", heads_},
                         {"max_position_embeddings", kSeq},
                         {"head_dim", kHead},
                         {"rms_norm_eps", 1e-5},
                         {"tie_word_embeddings", true}};
    auto adapters = std::make_unique<lora::LoraPolicy>(DType::kBF16, lora::LoraConfig{.rank = 8});
    if (is_packed_) {
      adapters->set_packing([](const nn::ParamSpec& spec) {
        return spec.is_table ? nullptr : quant::FindPackedFormat("nf4");
      });
    }
    const models::ModelPlan plan(config, "test", std::move(adapters));
    if (is_packed_) plan.policy->set_kernels(models::KernelsFor(pallas::Chip::kV5e, std::nullopt));
    const TrainOptions options{.policy = MemoryPolicy::FromText(policy)};
    return TraceStep(plan, StepOptionsOf(options, FullShape(kSeq, batch_), plan.policy->kernels()));
  }

  int64_t Need(const std::string& policy) const {
    return plan::EarlyNeed(target_, *Trace(policy).graph, 0).value();
  }

  const plan::Target target_ = plan::FindTarget("v5e:1x1", pjrt::TpuPlugin());

  BatchOptions batch_ = {.batch = 1};
  bool is_packed_ = false;  // linear weights in NF4, and kernels
  int64_t width_ = 128;
  int64_t layers_ = 2;
  int64_t heads_ = 1;
  int64_t inner_ = 256;
  int64_t vocab_ = 1024;
};

TEST_F(PolicyMemoryTest, LayersSavesTheProducts) {
  layers_ = 512;
  // q, k, v, o, attention and down; gate and up.
  const int64_t products = layers_ * (6 * input() + 2 * kSeq * inner_ * 2);
  EXPECT_GT(Need("products") - Need("layers"), products * 3 / 4);
}

TEST_F(PolicyMemoryTest, NamesSaveWhatIsNotNamed) {
  layers_ = 512;
  const int64_t of_products = Need("products");
  EXPECT_GT(Need("everything") - of_products, layers_ * 5 * input());
  EXPECT_GT(of_products - Need("attention"), layers_ * 5 * input());
  EXPECT_GT(of_products - Need("linear"), layers_ * input() / 2);
  const int64_t of_layers = Need("layers");
  EXPECT_GT(Need("attention") - of_layers, layers_ * input() * 3 / 4);
  EXPECT_GT(Need("lora") - of_layers, layers_ * kSeq * 8 * 2 * 7 / 2);  // of rank 8, seven branches
}

TEST_F(PolicyMemoryTest, OffloadMovesTheInputsToTheHost) {
  layers_ = 512;
  EXPECT_GT(Need("layers") - Need("layers,offload"), layers_ * input() * 3 / 4);
  const plan::Measurement whole = plan::CompileForTpu(target_, *Trace("layers,offload").graph);
  EXPECT_TRUE(whole.fits);
  EXPECT_EQ(whole.offloaded, layers_ * input());
}

TEST_F(PolicyMemoryTest, OffloadTablesMovesEmbeddingAndHead) {
  inner_ = kLarge;  // most is needed within a layer, where no table is
  vocab_ = 512 * 1024;
  const int64_t table = vocab_ * width_ * 2;
  EXPECT_GT(Need("layers") - Need("layers,offload_tables"), table / 2);
  const plan::Measurement whole =
      plan::CompileForTpu(target_, *Trace("layers,offload_tables").graph);
  EXPECT_EQ(whole.offloaded, table);
}

TEST_F(PolicyMemoryTest, PrefetchHoldsAtMostOneMoreInput) {
  layers_ = 8;
  vocab_ = 256;
  const auto bytes = [&](const std::string& policy) {
    return plan::CompileForTpu(target_, *Trace(policy).graph);
  };
  const plan::Measurement without = bytes("layers,offload");
  const plan::Measurement with = bytes("layers,offload,prefetch");
  EXPECT_EQ(with.offloaded, without.offloaded);
  EXPECT_GT(with.need, without.need);
  EXPECT_LE(with.need, without.need + input());
}

TEST_F(PolicyMemoryTest, EveryKeepsOneInputOfAGroup) {
  layers_ = 512;
  // Inputs of 32 groups, and of the 16 layers of one group at a time.
  EXPECT_GT(Need("layers") - Need("layers,every=16"), (layers_ - 32 - 16) * input() * 3 / 4);
}

TEST_F(PolicyMemoryTest, MlpTilesKeepInnerValuesOfOneTile) {
  inner_ = kLarge;
  EXPECT_GT(Need("layers") - Need("layers,tile=256"), 2 * kSeq * inner_ * 2);
}

TEST_F(PolicyMemoryTest, TilesKeepWhatProjectionsSeeOfOneTile) {
  width_ = kLarge / 4;  // as wide as nothing else
  EXPECT_GT(Need("layers") - Need("layers,tile=256"), 2 * input());
}

TEST_F(PolicyMemoryTest, LeversSaveBesidePackedWeights) {
  is_packed_ = true;
  layers_ = 512;
  const int64_t of_layers = Need("layers");
  const int64_t products = layers_ * (6 * input() + 2 * kSeq * inner_ * 2);
  EXPECT_GT(Need("products") - of_layers, products * 3 / 4);
  EXPECT_GT(of_layers - Need("layers,offload"), layers_ * input() * 3 / 4);
  layers_ = 2;
  inner_ = kLarge;
  EXPECT_GT(Need("layers") - Need("layers,tile=256"), 2 * kSeq * inner_ * 2);
}

TEST_F(PolicyMemoryTest, AccumulationKeepsOneMicroBatch) {
  layers_ = 256;
  batch_ = {.batch = 4};
  const int64_t at_once = Need("layers");
  batch_ = {.batch = 1, .accumulation = 4};
  EXPECT_GT(at_once - Need("layers"), 3 * layers_ * input() * 3 / 4);
}

TEST_F(PolicyMemoryTest, KvHeadsKeepsQueriesOfOneGroup) {
  heads_ = 64;  // attention is 32 times as wide as the layer's input
  const int64_t queries = heads_ * kSeq * kHead * 2;
  // In the reverse pass: queries and their gradient; attention's result is kept.
  EXPECT_GT(Need("layers") - Need("layers,kv_heads=2"), 2 * queries);
}

TEST_F(PolicyMemoryTest, LossChunksKeepLogitsOfOneChunk) {
  vocab_ = kLarge;
  const std::string whole = fmt::format("layers,loss_chunk={}", kSeq);
  EXPECT_GT(Need(whole) - Need("layers"), kSeq * vocab_ * 2);
}

}  // namespace
}  // namespace sophia::train
