// AdamW's kernels compiled for a TPU: what they write takes the place of what they read.
#include <gtest/gtest.h>

#include <array>

#include "sophia/optim/optimizers.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/runtime/program.h"

namespace sophia::optim {
namespace {

// LoRA's A and B of rank 16, stacked over layers.
const std::vector<NamedShape> kParameters = {{"a", {DType::kF32, {32, 16, 4096}}},
                                             {"b", {DType::kF32, {32, 14336, 16}}}};

// One update whose parameters and state take the buffers of the old ones.
pjrt::CompiledMemoryStats MemoryOf(const Transform& transform) {
  Graph graph;
  UpdateArgs args;
  for (const NamedShape& parameter : kParameters) {
    args.params.push_back(graph.AddInput(parameter.shape, {.name = parameter.name}));
  }
  for (const Slot& slot : transform.slots(kParameters)) {
    args.state.push_back(graph.AddInput(slot.shape, {.name = slot.name}));
  }
  for (const NamedShape& parameter : kParameters) {
    args.grads.push_back(graph.AddInput(parameter.shape, {.name = "grad"}));
  }
  args.step = graph.AddInput({DType::kS32, {}}, {.name = "step"});
  {
    const Tracing tracing(graph);
    const Applied next = Apply(transform, args);
    int place = 0;
    for (const TensorList* results : {&next.params, &next.state}) {
      for (const Tensor& result : *results) graph.AddOutput(result, {.aliases_input = place++});
    }
  }
  const pjrt::Topology topology =
      pjrt::Topology::Create(pjrt::Plugin::Load(pjrt::TpuPlugin()), "v5e:1x1");
  return CompileAheadOfTime(topology, graph).MemoryStats();
}

int64_t StateBytes(const Transform& transform) {
  int64_t bytes = 0;
  for (const Slot& slot : transform.slots(kParameters)) bytes += slot.shape.bytes();
  return bytes;
}

class AdamWMemoryTest : public testing::TestWithParam<MomentStorage> {};

TEST_P(AdamWMemoryTest, UpdatesInPlace) {
  const Transform adamw =
      AdamW({.update = {.schedule = {.learning_rate = 1e-3}, .max_grad_norm = 1},
             .moments = GetParam(),
             .target = {pallas::Mode::kMosaic, pallas::Chip::kV5e}});
  const pjrt::CompiledMemoryStats memory = MemoryOf(adamw);
  int64_t params = 0;
  for (const NamedShape& parameter : kParameters) params += parameter.shape.bytes();
  fmt::print("params {} state {} | argument {} alias {} temp {} output {}\n", params,
             StateBytes(adamw), memory.argument, memory.alias, memory.temp, memory.output);
  EXPECT_LT(memory.argument, 1.02 * static_cast<double>(2 * params + StateBytes(adamw)));
  EXPECT_GE(memory.alias, params + StateBytes(adamw));
  EXPECT_LT(memory.temp, params / 50);
}

std::string NameOfStorage(const testing::TestParamInfo<MomentStorage>& info) {
  constexpr std::array<const char*, 3> kNames = {"F32", "BF16Mean", "EightBits"};
  return kNames[static_cast<size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Moments, AdamWMemoryTest,
                         testing::Values(MomentStorage::kF32, MomentStorage::kBF16Mean,
                                         MomentStorage::k8Bit),
                         NameOfStorage);

}  // namespace
}  // namespace sophia::optim
