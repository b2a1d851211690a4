// Flash attention interpreted on the CPU against plain attention, and compiled for TPUs.
#include <gtest/gtest.h>

#include <cmath>
#include <ostream>
#include <random>

#include "sophia/autodiff/autodiff.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/kernels/flash_attention.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/runtime/program.h"

namespace sophia::kernels {
namespace {

using pallas::Mode;

struct Case {
  std::string name;
  Dims q = {1, 2, 256, 64};
  int64_t kv_heads = 2;
  DType dtype = DType::kF32;
  // Tokens to a segment, the last one shorter; 0: no segments.
  int64_t segment = 0;
  FlashOptions options = {.scale = 0.125, .block_q = 128, .block_k = 128};
  double tolerance = 1e-5;  // of the largest element
};

void PrintTo(const Case& c, std::ostream* stream) { *stream << c.name; }

Case With(Case base, const std::function<void(Case&)>& change) {
  change(base);
  return base;
}

std::vector<Case> Cases() {
  return {
      {.name = "causal"},
      With({.name = "all_keys"}, [](Case& c) { c.options.causal = false; }),
      {.name = "grouped", .q = {2, 4, 128, 64}, .kv_heads = 2},
      {.name = "one_kv_head", .q = {1, 3, 128, 64}, .kv_heads = 1},
      {.name = "one_token", .q = {1, 1, 1, 128}, .kv_heads = 1},
      {.name = "ragged", .q = {1, 1, 200, 64}, .kv_heads = 1},
      With({.name = "ragged_all_keys", .q = {1, 1, 200, 64}, .kv_heads = 1},
           [](Case& c) { c.options.causal = false; }),
      With({.name = "wide_keys", .q = {1, 1, 512, 64}, .kv_heads = 1},
           [](Case& c) { c.options.block_k = 256; }),
      With({.name = "wide_queries", .q = {1, 1, 512, 64}, .kv_heads = 1},
           [](Case& c) { c.options.block_q = 256; }),
      With({.name = "window", .q = {1, 1, 512, 64}, .kv_heads = 1},
           [](Case& c) { c.options.window = 100; }),
      With({.name = "soft_cap"}, [](Case& c) { c.options.soft_cap = 0.5; }),
      {.name = "segments", .q = {2, 2, 256, 64}, .segment = 100},
      {.name = "segments_of_one", .q = {1, 1, 128, 64}, .kv_heads = 1, .segment = 1},
      {.name = "head_80", .q = {1, 1, 128, 80}, .kv_heads = 1},
      {.name = "head_96", .q = {1, 1, 128, 96}, .kv_heads = 1},
      {.name = "head_256", .q = {1, 1, 128, 256}, .kv_heads = 1},
      {.name = "bf16", .dtype = DType::kBF16, .tolerance = 2e-2},
  };
}

// Inputs q, k, v and, if asked for, segments; outputs of each mode in turn, widened to f32.
void Trace(Graph& graph, const Case& c, const std::vector<Mode>& modes,
           std::optional<pallas::Chip> chip = std::nullopt) {
  const Tracing tracing(graph);
  Dims keys = c.q;
  keys[1] = c.kv_heads;
  const auto input = [&](const Dims& dims, const char* name) {
    return Convert(graph.AddInput({DType::kF32, dims}, {.name = name}), c.dtype);
  };
  const Tensor q = input(c.q, "q");
  const Tensor k = input(keys, "k");
  const Tensor v = input(keys, "v");
  Tensor segments;
  if (c.segment > 0) {
    segments = graph.AddInput({DType::kS32, {c.q[0], c.q[2]}}, {.name = "segments"});
  }
  for (const Mode mode : modes) {
    FlashOptions options = c.options;
    options.mode = mode;
    options.chip = chip;
    const FlashOutput result = FlashForward(q, k, v, segments, options);
    graph.AddOutput(Convert(result.out, DType::kF32), {.name = "out"});
    graph.AddOutput(result.log_sum, {.name = "log_sum"});
    const auto loss = [&](std::span<const Tensor> p) -> Loss {
      const Tensor out = Convert(FlashAttention(p[0], p[1], p[2], segments, options), DType::kF32);
      return {Sum(out * Sin(Iota(out.shape(), 3) + Iota(out.shape(), 2)))};
    };
    for (const Tensor& grad : ValueAndGrad(loss, {q, k, v}).grads) {
      graph.AddOutput(Convert(grad, DType::kF32), {.name = "grad"});
    }
  }
}

class FlashTest : public testing::TestWithParam<Case> {};

TEST_P(FlashTest, EqualsPlainAttention) {
  const Case& c = GetParam();
  Graph graph;
  Trace(graph, c, {Mode::kInterpret, Mode::kReference});
  const pjrt::Client& client = pjrt::SharedCpuClient();
  const Program program = Program::Compile(client, graph);
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<pjrt::Buffer> buffers;
  for (const ProgramValue& input : program.inputs()) {
    const auto count = static_cast<size_t>(input.shape.elements());
    if (input.shape.dtype == DType::kS32) {
      std::vector<int32_t> ids(count);
      for (size_t i = 0; i < count; ++i)
        ids[i] = static_cast<int32_t>(i) / static_cast<int32_t>(c.segment);
      buffers.push_back(pjrt::Buffer::FromHost(client.default_device(), input.shape, ids));
      continue;
    }
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    buffers.push_back(pjrt::Buffer::FromHost(client.default_device(), input.shape, values));
  }
  std::vector<pjrt::Buffer*> arguments;
  for (pjrt::Buffer& buffer : buffers) arguments.push_back(&buffer);
  const std::vector<pjrt::Buffer> results = program.Run(arguments);
  constexpr size_t kOutputs = 5;
  ASSERT_EQ(results.size(), 2 * kOutputs);
  for (size_t i = 0; i < kOutputs; ++i) {
    const auto got = results[i].ToVector<float>();
    const auto want = results[i + kOutputs].ToVector<float>();
    ASSERT_EQ(got.size(), want.size());
    float largest = 1;  // some gradients are zero
    for (const float value : want) largest = std::max(largest, std::abs(value));
    for (size_t j = 0; j < got.size(); ++j) {
      ASSERT_NEAR(got[j], want[j], c.tolerance * largest)
          << program.outputs()[i].name << " " << i << ", element " << j;
    }
  }
}

TEST_P(FlashTest, CompilesForTpus) {
  const Case& c = GetParam();
  Graph graph;
  Trace(graph, c, {Mode::kMosaic}, pallas::Chip::kV5e);
  const pjrt::Topology topology =
      pjrt::Topology::Create(pjrt::Plugin::Load(pjrt::TpuPlugin()), "v5e:1x1");
  EXPECT_GT(CompileAheadOfTime(topology, graph).MemoryStats().generated_code, 0);
}

INSTANTIATE_TEST_SUITE_P(Cases, FlashTest, testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace sophia::kernels
