#include "sophia/pjrt/executable.h"

#include <gmock/gmock.h>

#include "sophia/pjrt/test_support.h"

namespace sophia::pjrt {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kMatmul = R"(
module @matmul {
  func.func public @main(%a: tensor<2x3xf32>, %b: tensor<3x2xf32>) -> tensor<2x2xf32> {
    %c = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
        : (tensor<2x3xf32>, tensor<3x2xf32>) -> tensor<2x2xf32>
    return %c : tensor<2x2xf32>
  }
})";

// x + y into x's memory, and the unaliased product.
constexpr std::string_view kDonating = R"(
module @donating {
  func.func public @main(%x: tensor<1024xf32> {tf.aliasing_output = 0 : i32},
                         %y: tensor<1024xf32>) -> (tensor<1024xf32>, tensor<1024xf32>) {
    %s = stablehlo.add %x, %y : tensor<1024xf32>
    %p = stablehlo.multiply %x, %y : tensor<1024xf32>
    return %s, %p : tensor<1024xf32>, tensor<1024xf32>
  }
})";

// The sum of squares of a vector split over two devices, and the vector doubled where it lies.
constexpr std::string_view kSharded = R"(
module @sharded attributes {mhlo.num_partitions = 2 : i32, mhlo.num_replicas = 1 : i32} {
  sdy.mesh @mesh = <["data"=2]>
  func.func public @main(%x: tensor<4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}]>})
      -> (tensor<f32> {sdy.sharding = #sdy.sharding<@mesh, []>},
          tensor<4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}]>}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %squares = stablehlo.multiply %x, %x : tensor<4xf32>
    %sum = stablehlo.reduce(%squares init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
    %twice = stablehlo.add %x, %x : tensor<4xf32>
    return %sum, %twice : tensor<f32>, tensor<4xf32>
  }
})";

std::vector<Buffer> RunMatmul(const Client& client, const LoadedExecutable& executable) {
  const Device device = client.default_device();
  Buffer a = Buffer::FromHost<float>(device, {DType::kF32, {2, 3}}, {1, 2, 3, 4, 5, 6});
  Buffer b = Buffer::FromHost<float>(device, {DType::kF32, {3, 2}}, {1, 0, 0, 1, 1, 1});
  return executable.Execute(std::vector{&a, &b});
}

Buffer Filled(const Client& client, float value) {
  return Buffer::FromHost(client.default_device(), {DType::kF32, {1024}},
                          std::vector<float>(1024, value));
}

TEST(Executable, CompilesAndRunsText) {
  const auto client = CpuClient();
  const auto executable = LoadedExecutable::Compile(*client, kMatmul);
  const std::vector<Buffer> results = RunMatmul(*client, executable);
  ASSERT_EQ(results.size(), 1u);
  EXPECT_EQ(results[0].shape(), (Shape{DType::kF32, {2, 2}}));
  EXPECT_THAT(results[0].ToVector<float>(), ElementsAre(4, 5, 10, 11));
}

TEST(Executable, CompileErrorNamesTheCall) {
  const auto client = CpuClient();
  EXPECT_THAT(MessageOf([&] { LoadedExecutable::Compile(*client, "module { nonsense }"); }),
              HasSubstr("[PJRT_Client_Compile] UNKNOWN: -:1:10: error"));
}

TEST(Executable, DescribesItself) {
  const auto client = CpuClient();
  const auto loaded = LoadedExecutable::Compile(*client, kDonating);
  const Executable& executable = loaded.executable();
  EXPECT_THAT(executable.name(), HasSubstr("donating"));
  EXPECT_EQ(executable.num_replicas(), 1);
  EXPECT_EQ(executable.num_partitions(), 1);
  EXPECT_EQ(executable.num_outputs(), 2);
  const Shape shape{DType::kF32, {1024}};
  EXPECT_THAT(executable.output_shapes(), ElementsAre(shape, shape));
  const std::string kind = client->default_device().default_memory().kind();
  EXPECT_THAT(executable.output_memory_kinds(), ElementsAre(kind, kind));
  EXPECT_THAT(loaded.devices(), ElementsAre(client->default_device()));
}

TEST(Executable, CountsMemory) {
  const auto client = CpuClient();
  const auto donating = LoadedExecutable::Compile(*client, kDonating);
  const CompiledMemoryStats memory = donating.executable().MemoryStats();
  EXPECT_EQ(memory.argument, 2 * 4096);
  EXPECT_GE(memory.output, 2 * 4096);
  EXPECT_EQ(memory.alias, 4096);
  EXPECT_EQ(memory.host_argument, 0);
  EXPECT_GE(memory.peak.value(), 3 * 4096);
}

TEST(Executable, CostAnalysisIsEmptyWhereNotOffered) {
  const auto client = CpuClient();
  const auto loaded = LoadedExecutable::Compile(*client, kMatmul);
  EXPECT_TRUE(loaded.executable().CostAnalysis().empty());
}

TEST(Executable, FingerprintsEqualPrograms) {
  const auto client = CpuClient();
  const auto first = LoadedExecutable::Compile(*client, kMatmul);
  const auto second = LoadedExecutable::Compile(*client, kMatmul);
  const auto other = LoadedExecutable::Compile(*client, kDonating);
  ASSERT_TRUE(first.executable().Fingerprint().has_value());
  EXPECT_EQ(first.executable().Fingerprint(), second.executable().Fingerprint());
  EXPECT_NE(first.executable().Fingerprint(), other.executable().Fingerprint());
}

TEST(Executable, ShowsTheOptimizedProgram) {
  const auto client = CpuClient();
  const auto loaded = LoadedExecutable::Compile(*client, kMatmul);
  const auto program = loaded.executable().Optimized();
  ASSERT_TRUE(program.has_value());
  EXPECT_THAT(program->format, StartsWith("hlo"));
  EXPECT_THAT(program->code, HasSubstr("matmul"));
}

TEST(Executable, SerializesAndRunsAgain) {
  const auto client = CpuClient();
  const std::string bytes = LoadedExecutable::Compile(*client, kMatmul).executable().Serialize();
  const auto other_client = CpuClient();
  const auto restored = LoadedExecutable::Deserialize(*other_client, bytes);
  EXPECT_THAT(RunMatmul(*other_client, restored)[0].ToVector<float>(), ElementsAre(4, 5, 10, 11));
  EXPECT_THAT(MessageOf([&] { LoadedExecutable::Deserialize(*client, "nonsense"); }),
              StartsWith("[PJRT_Executable_DeserializeAndLoad] "));
}

TEST(Execute, DonatesAliasedArguments) {
  const auto client = CpuClient();
  const auto executable = LoadedExecutable::Compile(*client, kDonating);
  Buffer x = Filled(*client, 2);
  Buffer y = Filled(*client, 5);
  const auto address = x.UnsafePointer();
  const std::vector<Buffer> results = executable.Execute(std::vector{&x, &y});
  EXPECT_TRUE(x.IsDeleted());
  EXPECT_FALSE(y.IsDeleted());
  EXPECT_EQ(results[0].ToVector<float>()[1023], 7);
  EXPECT_EQ(results[1].ToVector<float>()[1023], 10);
  EXPECT_EQ(results[0].UnsafePointer(), address);
  EXPECT_THAT(MessageOf([&] {
                executable.Execute(std::vector{&x, &y});
              }),
              StartsWith("[PJRT_LoadedExecutable_Execute] INVALID_ARGUMENT: "));
}

TEST(Execute, KeepsNonDonatableArguments) {
  const auto client = CpuClient();
  const auto executable = LoadedExecutable::Compile(*client, kDonating);
  Buffer x = Filled(*client, 2);
  Buffer y = Filled(*client, 5);
  const std::vector<Buffer> results =
      executable.Execute(std::vector{&x, &y}, {.non_donatable = {0}});
  EXPECT_FALSE(x.IsDeleted());
  EXPECT_EQ(x.ToVector<float>()[0], 2);
  EXPECT_EQ(results[0].ToVector<float>()[0], 7);
}

TEST(Execute, ChainsWithoutWaiting) {
  const auto client = CpuClient();
  const auto executable = LoadedExecutable::Compile(*client, kDonating);
  Buffer x = Filled(*client, 0);
  Buffer one = Filled(*client, 1);
  for (int i = 0; i < 100; ++i) {
    x = std::move(executable.Execute(std::vector{&x, &one})[0]);
  }
  EXPECT_EQ(x.ToVector<float>()[512], 100);
}

TEST(Execute, WrongArgumentsAreErrors) {
  const auto client = CpuClient();
  const auto executable = LoadedExecutable::Compile(*client, kDonating);
  Buffer x = Filled(*client, 2);
  Buffer small = Buffer::FromHost<float>(client->default_device(), {DType::kF32, {2}}, {1, 2});
  EXPECT_THAT(MessageOf([&] { executable.Execute(std::vector{&x}); }),
              StartsWith("[PJRT_LoadedExecutable_Execute] INVALID_ARGUMENT: "));
  EXPECT_THAT(MessageOf([&] {
                executable.Execute(std::vector{&x, &small});
              }),
              StartsWith("[PJRT_LoadedExecutable_Execute] INVALID_ARGUMENT: "));
}

TEST(Execute, RunsShardedOverTwoDevices) {
  const auto client = CpuClient(2);
  const auto executable = LoadedExecutable::Compile(
      *client, kSharded, {.num_partitions = 2, .use_spmd = true, .use_shardy = true});
  EXPECT_EQ(executable.executable().num_partitions(), 2);
  const std::vector<Device> devices = executable.devices();
  ASSERT_EQ(devices.size(), 2u);
  Buffer left = Buffer::FromHost<float>(devices[0], {DType::kF32, {2}}, {1, 2});
  Buffer right = Buffer::FromHost<float>(devices[1], {DType::kF32, {2}}, {3, 4});
  const std::vector<std::vector<Buffer*>> arguments = {{&left}, {&right}};
  const auto results = executable.ExecuteSharded(arguments);
  ASSERT_EQ(results.size(), 2u);
  EXPECT_THAT(results[0][0].ToVector<float>(), ElementsAre(30));
  EXPECT_THAT(results[1][0].ToVector<float>(), ElementsAre(30));
  EXPECT_THAT(results[0][1].ToVector<float>(), ElementsAre(2, 4));
  EXPECT_THAT(results[1][1].ToVector<float>(), ElementsAre(6, 8));
  EXPECT_EQ(results[1][1].device(), devices[1]);
}

TEST(Execute, PlacesResultsInPinnedHostMemory) {
  const auto client = CpuClient();
  const auto executable = LoadedExecutable::Compile(*client, R"(
    func.func public @main(%x: tensor<1024xf32>)
        -> (tensor<1024xf32> {mhlo.memory_kind = "pinned_host"}) {
      %y = stablehlo.add %x, %x : tensor<1024xf32>
      %z = stablehlo.custom_call @annotate_device_placement(%y)
          {has_side_effect = true, mhlo.frontend_attributes = {_xla_buffer_placement = "pinned_host"}}
          : (tensor<1024xf32>) -> tensor<1024xf32>
      return %z : tensor<1024xf32>
    })");
  EXPECT_THAT(executable.executable().output_memory_kinds(), ElementsAre("pinned_host"));
  Buffer x = Filled(*client, 2);
  const std::vector<Buffer> results = executable.Execute(std::vector{&x});
  EXPECT_EQ(results[0].memory().kind(), "pinned_host");
  EXPECT_EQ(results[0].ToVector<float>()[7], 4);
}

}  // namespace
}  // namespace sophia::pjrt
