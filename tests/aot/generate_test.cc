// The programs of generation, compiled for a TPU that is not here.
#include <gtest/gtest.h>

#include "sophia/generate/programs.h"
#include "sophia/models/model_files.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/pjrt/topology.h"
#include "sophia/runtime/program.h"

namespace sophia::generate {
namespace {

class GenerationAheadOfTimeTest : public ::testing::Test {
 protected:
  static constexpr CacheSize kSize{.batch = 2, .capacity = 512};

  // Compiles for one TPU v5e and checks the arguments: parameters and `more` bytes.
  pjrt::CompiledMemoryStats Compile(const char* name, const Graph& graph, int64_t more) const {
    const auto topology = pjrt::Topology::Create(pjrt::Plugin::Load(pjrt::TpuPlugin()), "v5e:1x1");
    const pjrt::CompiledMemoryStats memory =
        CompileAheadOfTime(topology, graph, {.name = name}).MemoryStats();
    for (const nn::ParamSpec& spec : plan_.specs()) more += spec.shape().bytes();
    EXPECT_GE(memory.argument, more);
    fmt::print("v5e:1x1 {}: {} argument, {} temporary, {} aliased bytes\n", name, memory.argument,
               memory.temp, memory.alias);
    return memory;
  }

  const models::ModelFiles files_ =
      models::ModelFiles::Open(SOPHIA_DEPS_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf");
  const models::ModelPlan plan_{files_.config(), files_.config_name(),
                                std::make_unique<nn::ParamPolicy>(DType::kBF16)};
  void SetUp() override {
    plan_.policy->set_kernels({.mode = pallas::Mode::kMosaic, .chip = pallas::Chip::kV5e});
  }

  const int64_t cache_bytes_ =
      2 * plan_.model->CacheShape(kSize.batch, kSize.capacity, DType::kBF16).bytes();
};

TEST_F(GenerationAheadOfTimeTest, PrefillCompilesForV5e) {
  const auto memory = Compile("prefill", *TracePrefill(plan_, kSize, 128), 0);
  EXPECT_GE(memory.output, cache_bytes_);
}

TEST_F(GenerationAheadOfTimeTest, DecodeCompilesForV5eAndKeepsItsCacheInPlace) {
  const auto memory = Compile("decode", *TraceDecode(plan_, kSize), cache_bytes_);
  EXPECT_GE(memory.alias, cache_bytes_);
}

}  // namespace
}  // namespace sophia::generate
