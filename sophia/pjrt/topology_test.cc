#include "sophia/pjrt/topology.h"

#include <gmock/gmock.h>

#include "sophia/pjrt/test_support.h"

namespace sophia::pjrt {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::StartsWith;

// bf16 [512, 256] x [256, 512] into f32.
constexpr std::string_view kMatmul = R"(
module @matmul {
  func.func public @main(%a: tensor<512x256xbf16>, %b: tensor<256x512xbf16>) -> tensor<512x512xf32> {
    %c = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
        : (tensor<512x256xbf16>, tensor<256x512xbf16>) -> tensor<512x512xf32>
    return %c : tensor<512x512xf32>
  }
})";

TEST(Topology, DescribesOneTpuChip) {
  const Topology topology = Topology::Create(Plugin::Load(TpuPlugin()), "v5e:1x1");
  EXPECT_EQ(topology.platform_name(), "tpu");
  EXPECT_THAT(topology.platform_version(), HasSubstr("TPU v5 lite"));
  const auto devices = topology.devices();
  ASSERT_EQ(devices.size(), 1u);
  EXPECT_EQ(devices[0].kind, "TPU v5 lite");
  EXPECT_THAT(devices[0].attributes, Contains(Key("coords")));
  const auto limit = topology.Attributes().at("device_memory_bytes_limit");
  EXPECT_GT(std::get<int64_t>(limit), int64_t{8} << 30);
}

TEST(Topology, CostAnalysisCountsTheFlopsAndBytesOfAProduct) {
  const Topology topology = Topology::Create(Plugin::Load(TpuPlugin()), "v5e:1x1");
  const auto cost = CompileAheadOfTime(topology, kMatmul).CostAnalysis();
  EXPECT_EQ(cost.at("flops"), 2.0 * 512 * 256 * 512);
  EXPECT_GE(cost.at("bytes accessed"), 2.0 * (2 * 512 * 256) + 4.0 * 512 * 512);
}

TEST(Topology, CountsTheDevicesOfAMesh) {
  const Topology topology = Topology::Create(Plugin::Load(TpuPlugin()), "v5e:2x4");
  EXPECT_EQ(topology.devices().size(), 8u);
}

TEST(Topology, UnknownNameIsAnError) {
  const auto plugin = Plugin::Load(TpuPlugin());
  EXPECT_THAT(MessageOf([&] { Topology::Create(plugin, "v99"); }),
              StartsWith("[PJRT_TopologyDescription_Create] INVALID_ARGUMENT: "));
  EXPECT_THAT(MessageOf([] { Topology::Create(Plugin::Load(CpuPlugin()), "cpu"); }),
              StartsWith("[PJRT_TopologyDescription_Create] UNIMPLEMENTED: "));
}

TEST(CompileAheadOfTime, TellsTheMemoryOfATpuProgram) {
  const Topology topology = Topology::Create(Plugin::Load(TpuPlugin()), "v5e:1x1");
  const Executable executable = CompileAheadOfTime(topology, kMatmul);
  EXPECT_THAT(executable.output_shapes(), ElementsAre(Shape{DType::kF32, {512, 512}}));
  const CompiledMemoryStats memory = executable.MemoryStats();
  EXPECT_EQ(memory.argument, 2 * 512 * 256 * 2);
  EXPECT_EQ(memory.output, 512 * 512 * 4);
  EXPECT_GE(memory.peak.value(), memory.argument + memory.output);
  EXPECT_FALSE(executable.Serialize().empty());
}

TEST(CompileAheadOfTime, RefusesAProgramLargerThanTheMemory) {
  const Topology topology = Topology::Create(Plugin::Load(TpuPlugin()), "v5e:1x1");
  constexpr std::string_view kHuge = R"(
    func.func public @main(%a: tensor<65536x65536xf32>) -> tensor<65536x65536xf32> {
      %b = stablehlo.add %a, %a : tensor<65536x65536xf32>
      return %b : tensor<65536x65536xf32>
    })";
  try {
    CompileAheadOfTime(topology, kHuge);
    FAIL() << "expected an error";
  } catch (const CallError& error) {
    EXPECT_EQ(error.code(), StatusCode::kResourceExhausted) << error.what();
    EXPECT_THAT(error.what(), StartsWith("[PJRT_Compile] RESOURCE_EXHAUSTED: "));
  }
}

TEST(CompileAheadOfTime, PartitionsOverAMesh) {
  const Topology topology = Topology::Create(Plugin::Load(TpuPlugin()), "v5e:2x2");
  const Executable executable = CompileAheadOfTime(topology, R"(
    module attributes {mhlo.num_partitions = 4 : i32} {
      sdy.mesh @mesh = <["data"=4]>
      func.func public @main(%x: tensor<4096xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}]>})
          -> (tensor<4096xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}]>}) {
        %y = stablehlo.add %x, %x : tensor<4096xf32>
        return %y : tensor<4096xf32>
      }
    })",
                                                   {.num_partitions = 4,
                                                    .use_spmd = true,
                                                    .use_shardy = true,
                                                    .device_assignment = {{0, 1, 2, 3}}});
  EXPECT_EQ(executable.num_partitions(), 4);
  EXPECT_EQ(executable.MemoryStats().argument, 4096);
}

}  // namespace
}  // namespace sophia::pjrt
