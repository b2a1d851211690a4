// The training step beyond the first CPU device: compiled for a TPU that is not here, run on a
// second device, and split over two.
#include "sophia/train/step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "sophia/graph/printer.h"
#include "sophia/models/kernel_choice.h"
#include "sophia/models/weights.h"
#include "sophia/pallas/work_estimate.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/plan/xla_cycles.h"
#include "sophia/runtime/program.h"
#include "sophia/train/run.h"

namespace sophia::train {
namespace {

using models::ModelFiles;
using models::ModelPlan;

ModelPlan PlanOf(const Json& config, DType dtype, nn::PackingRule packing = nullptr) {
  auto policy = std::make_unique<lora::LoraPolicy>(dtype, lora::LoraConfig{.rank = 16});
  policy->set_packing(std::move(packing));
  return ModelPlan(config, "test", std::move(policy));
}

StepProgram Trace(const ModelPlan& plan, const BatchShape& shape, const Mesh& mesh = {},
                  const MemoryPolicy& policy = {}) {
  const TrainOptions options;
  return TraceStep(
      plan, {.shape = shape, .optimizer = OptimizerOf(options), .policy = policy, .mesh = mesh});
}

TEST(AheadOfTimeTest, SmolLm2StepCompilesForV5e) {
  const ModelFiles files =
      ModelFiles::Open(SOPHIA_DEPS_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf");
  const ModelPlan plan = PlanOf(files.config(), DType::kBF16);
  const StepProgram step =
      Trace(plan, {.accumulation = 1, .batch = 4, .seq = 128, .loss_positions = 512});
  const pjrt::Topology topology =
      pjrt::Topology::Create(pjrt::Plugin::Load(pjrt::TpuPlugin()), "v5e:1x1");
  const pjrt::Executable executable = CompileAheadOfTime(topology, *step.graph);
  const pjrt::CompiledMemoryStats memory = executable.MemoryStats();
  int64_t arguments = 0;
  for (const nn::ParamSpec& spec : plan.specs()) arguments += spec.shape().bytes();
  EXPECT_GE(memory.argument, arguments);
  EXPECT_GT(memory.temp, 0);
  // Adapters and their state take the place of their inputs.
  EXPECT_GT(memory.alias, 0);
  // XLA's estimate of all operations, loops included, is above what its products need at least.
  const pallas::ChipInfo& chip = pallas::Info(pallas::Chip::kV5e);
  const double seconds = plan::EstimatedCycles(executable.Optimized().value()) / chip.clock;
  const double least = pallas::EstimateWork(*step.graph, chip).seconds;
  EXPECT_GT(seconds, least);
  EXPECT_LT(seconds, 3 * least);
  RecordProperty("temp_bytes", std::to_string(memory.temp));
  fmt::print("v5e:1x1: {} argument, {} temporary, {} aliased bytes\n", memory.argument, memory.temp,
             memory.alias);
}

// Of Llama 3 8B's shapes.
Json ConfigOfDepth(int64_t layers) {
  return {{"model_type", "llama"},      {"hidden_size", 4096},
          {"intermediate_size", 14336}, {"num_hidden_layers", layers},
          {"num_attention_heads", 32},  {"num_key_value_heads", 8},
          {"vocab_size", 128256},       {"rms_norm_eps", 1e-5},
          {"rope_theta", 500000.0},     {"max_position_embeddings", 131072}};
}

// What every step of the Llama family calls; all of its attention sees segments.
const std::set<std::string> kKernelsOfAStep = {"flash_attention",
                                               "flash_attention_dq",
                                               "flash_attention_dkv",
                                               "flash_attention_rows",
                                               "rms_norm",
                                               "rms_norm_backward",
                                               "add_rms_norm",
                                               "add_rms_norm_backward",
                                               "rotary",
                                               "glu",
                                               "glu_backward",
                                               "linear_cross_entropy",
                                               "linear_cross_entropy_dh"};

// Names of the kernels traced while it lives.
struct CalledKernels {
  std::set<std::string> names;
  pallas::CallObserver observer{
      [this](const pallas::Kernel& kernel, std::span<const Tensor>, std::span<const Tensor>) {
        const std::string& name = kernel.spec.name;
        names.insert(name);
        // Row sums are the same in all segments.
        if (name.starts_with("flash_attention") && name != "flash_attention_rows") {
          EXPECT_EQ(kernel.spec.num_scalar_prefetch, 1) << name << " without segments";
        }
      }};
};

TEST(AheadOfTimeTest, QLoraOfEightBillionParametersCompilesForV5eWithKernelsAndPackedRows) {
  constexpr int64_t kSeq = 4096;
  const ModelPlan plan = PlanOf(ConfigOfDepth(32), DType::kBF16, [](const nn::ParamSpec& spec) {
    return spec.is_table ? nullptr : quant::FindPackedFormat("nf4");
  });
  plan.policy->set_kernels(models::KernelsFor(pallas::Chip::kV5e, std::nullopt));
  const CalledKernels called;
  const StepProgram step = Trace(
      plan, {.accumulation = 1, .batch = 1, .seq = kSeq, .loss_positions = kSeq, .packs = true}, {},
      MemoryPolicy::FromText("layers"));
  EXPECT_THAT(called.names, testing::IsSupersetOf(kKernelsOfAStep));
  EXPECT_THAT(called.names, testing::IsSupersetOf({"quant_matmul", "quant_matmul_dx"}));
  const auto topology = pjrt::Topology::Create(pjrt::Plugin::Load(pjrt::TpuPlugin()), "v5e:1x1");
  const pjrt::CompiledMemoryStats memory = CompileAheadOfTime(topology, *step.graph).MemoryStats();
  // Two bytes for each of the head's and the embedding's numbers, half a byte for the others'.
  EXPECT_NEAR(static_cast<double>(memory.argument), 2.1e9 + 3.5e9 + 0.7e9, 0.3e9);
  EXPECT_LT(memory.temp, 2'700'000'000);
}

// As a Q4_K_M file of Llama 3 8B stores its layers.
TEST(AheadOfTimeTest, AMixtureOfKFormatsCompilesForV5eWithKernels) {
  constexpr int64_t kSeq = 2048;
  const ModelPlan plan = PlanOf(ConfigOfDepth(4), DType::kBF16, [](const nn::ParamSpec& spec) {
    if (spec.is_table) return static_cast<const quant::PackedFormat*>(nullptr);
    const bool is_mixed =
        spec.path.ends_with("v_proj.weight") || spec.path.ends_with("down_proj.weight");
    return quant::FindPackedFormat(is_mixed ? "Q4_K+Q6_K" : "Q4_K");
  });
  plan.policy->set_kernels(models::KernelsFor(pallas::Chip::kV5e, std::nullopt));
  std::set<std::string> called;
  const pallas::CallObserver observer(
      [&](const pallas::Kernel& kernel, std::span<const Tensor>, std::span<const Tensor>) {
        called.insert(kernel.spec.name);
      });
  const StepProgram step =
      Trace(plan, {.accumulation = 1, .batch = 1, .seq = kSeq, .loss_positions = kSeq}, {},
            MemoryPolicy::FromText("layers"));
  EXPECT_THAT(called, testing::IsSupersetOf({"quant_matmul", "quant_matmul_dx"}));
  const auto topology = pjrt::Topology::Create(pjrt::Plugin::Load(pjrt::TpuPlugin()), "v5e:1x1");
  const pjrt::CompiledMemoryStats memory = CompileAheadOfTime(topology, *step.graph).MemoryStats();
  // Embedding and head in bf16; of a layer, 155.2 M numbers in Q4_K and 62.9 M in the mixture.
  const double packed = 4 * (155.2e6 * 148 + 62.9e6 * 220) / 256;
  EXPECT_NEAR(static_cast<double>(memory.argument), 2.1e9 + packed, 0.1e9);
}

// As `sophia train` does on a TPU unless told otherwise, with dropout.
TEST(AheadOfTimeTest, SmolLm2StepCompilesForV5eWithKernelsPackedRowsAndDropout) {
  const ModelFiles files =
      ModelFiles::Open(SOPHIA_DEPS_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf");
  const ModelPlan plan(files.config(), "test",
                       std::make_unique<lora::LoraPolicy>(
                           DType::kBF16, lora::LoraConfig{.rank = 16, .dropout = 0.1}));
  plan.policy->set_kernels(models::KernelsFor(pallas::Chip::kV5e, std::nullopt));
  const CalledKernels called;
  const StepProgram step = Trace(
      plan, {.accumulation = 1, .batch = 4, .seq = 512, .loss_positions = 2048, .packs = true});
  EXPECT_THAT(called.names, testing::IsSupersetOf(kKernelsOfAStep));
  EXPECT_THAT(called.names, testing::Contains("dropout"));
  const auto topology = pjrt::Topology::Create(pjrt::Plugin::Load(pjrt::TpuPlugin()), "v5e:1x1");
  EXPECT_GT(CompileAheadOfTime(topology, *step.graph).MemoryStats().temp, 0);
}

// The step of a model of `layers` layers, as text.
std::string TextOfDepth(int64_t layers) {
  const ModelPlan plan = PlanOf(ConfigOfDepth(layers), DType::kBF16);
  const StepProgram step =
      Trace(plan, {.accumulation = 1, .batch = 1, .seq = 2048, .loss_positions = 2048});
  return ToStableHlo(*step.graph);
}

TEST(TraceTest, TheProgramDoesNotGrowWithDepth) {
  const auto lines = [](const std::string& text) { return std::ranges::count(text, '\n'); };
  const std::string shallow = TextOfDepth(2);
  EXPECT_EQ(lines(TextOfDepth(32)), lines(shallow));
  EXPECT_GT(lines(shallow), 100);
}

// Runs one step on `devices` devices and returns the loss.
float LossOn(int64_t devices) {
  const auto client = pjrt::CpuClient(devices);
  const ModelFiles files = ModelFiles::Open(SOPHIA_SOURCE_DIR "/tests/fixtures/llama/gqa");
  const ModelPlan plan = PlanOf(files.config(), DType::kF32);
  const BatchShape shape{.accumulation = 1, .batch = 4, .seq = 16, .loss_positions = 64};
  const Mesh mesh = devices > 1 ? Mesh{{"data", devices}} : Mesh{};
  const StepProgram step = Trace(plan, shape, mesh);
  const Program program = Program::Compile(*client, *step.graph);

  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 64; ++i) ids.push_back((i * 37 + 5) % 100);
  const std::vector<int32_t> zeros(64, 0);
  std::vector<std::vector<pjrt::Buffer>> buffers;
  std::vector<std::vector<pjrt::Buffer*>> arguments;
  for (int64_t d = 0; d < devices; ++d) {
    const pjrt::Device device = client->addressable_devices()[static_cast<size_t>(d)];
    buffers.push_back(models::LoadParameters(files, plan, device, 1));
    std::vector<pjrt::Buffer>& own = buffers.back();
    for (const optim::Slot& slot : step.slots) {
      own.push_back(pjrt::Buffer::FromHost(
          device, slot.shape, std::vector<float>(static_cast<size_t>(slot.shape.elements()))));
    }
    own.push_back(pjrt::Buffer::FromHost(device, {DType::kS32, {}}, std::vector<int32_t>{0}));
    own.push_back(pjrt::Buffer::FromHost(device, {DType::kU64, {}}, std::vector<uint64_t>{0}));
    own.push_back(
        pjrt::Buffer::FromHost(device, {DType::kF32, {3}}, std::vector<float>{1e-3F, 0, 10}));
    const int64_t batch = shape.batch / devices;
    const auto first = ids.begin() + d * batch * shape.seq;
    own.push_back(pjrt::Buffer::FromHost(device, {DType::kS32, {1, batch, shape.seq}},
                                         std::vector<int32_t>(first, first + batch * shape.seq)));
    own.push_back(pjrt::Buffer::FromHost(device, {DType::kS32, {1, 64}}, zeros));
    own.push_back(pjrt::Buffer::FromHost(device, {DType::kS32, {1, 64}}, ids));
  }
  for (auto& own : buffers) {
    arguments.emplace_back();
    for (pjrt::Buffer& buffer : own) arguments.back().push_back(&buffer);
  }
  const auto results = program.RunSharded(arguments);
  for (size_t i = 0; i < program.outputs().size(); ++i) {
    if (program.outputs()[i].name == "loss") return results[0][i].ToVector<float>()[0];
  }
  return 0;
}

TEST(ShardedTest, TwoDevicesGiveTheLossOfOne) {
  const float one = LossOn(1);
  EXPECT_GT(one, 1.0f);
  EXPECT_NEAR(LossOn(2), one, 1e-5f * one);
}

TEST(DeviceTest, ARunStaysOnTheChosenDevice) {
  const auto client = pjrt::CpuClient(2);
  const pjrt::Device second = client->addressable_devices()[1];
  const std::filesystem::path fixtures = SOPHIA_SOURCE_DIR "/tests/fixtures";
  TrainingRun run({.model = fixtures / "llama/gqa",
                   .data = {fixtures / "sft/rows.jsonl"},
                   .dtype = DType::kF32,
                   .max_steps = 1},
                  {.client = client, .chosen_device = second});
  for (int i = 0; i < 2; ++i) {
    for (const pjrt::Buffer& buffer : run.parameters()) EXPECT_EQ(buffer.device(), second);
    run.Step(run.NextBatch());
  }
}

}  // namespace
}  // namespace sophia::train
