#include "sophia/runtime/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "sophia/base/file.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/runtime/cache.h"

namespace sophia {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using Floats = std::vector<float>;

// y = 2 x + 1 in x's buffer.
void TraceInPlace(Graph& graph) {
  const Tensor x = graph.AddInput({DType::kF32, {2}}, {.name = "x"});
  const Tracing tracing(graph);
  graph.AddOutput(x * 2.0 + 1.0, {.name = "y", .aliases_input = 0});
}

TEST(ProgramTest, RunsAndDonates) {
  Graph graph;
  TraceInPlace(graph);
  const Program program = Program::Compile(pjrt::SharedCpuClient(), graph);
  pjrt::Buffer x = pjrt::Buffer::FromHost(pjrt::SharedCpuClient().default_device(),
                                          {DType::kF32, {2}}, std::vector<float>{1, 2});
  const std::vector<pjrt::Buffer*> arguments = {&x};
  EXPECT_THAT(program.Run(arguments)[0].ToVector<float>(), ElementsAre(3, 5));
  EXPECT_TRUE(x.IsDeleted());
}

TEST(ProgramTest, RunsOnTheGivenDevice) {
  const auto client = pjrt::CpuClient(2);
  const TemporaryFolder folder;
  const CompileCache cache(folder.path());
  Graph graph;
  TraceInPlace(graph);
  for (const pjrt::Device& device : client->addressable_devices()) {
    for (const bool from_cache : {false, true}) {
      const Program program = Program::Compile(*client, graph, {.device = device, .cache = &cache});
      EXPECT_EQ(program.from_cache(), from_cache);
      pjrt::Buffer x = pjrt::Buffer::FromHost(device, {DType::kF32, {2}}, std::vector<float>{1, 2});
      const std::vector<pjrt::Buffer*> arguments = {&x};
      const std::vector<pjrt::Buffer> results = program.Run(arguments);
      EXPECT_EQ(results[0].device(), device);
      EXPECT_THAT(results[0].ToVector<float>(), ElementsAre(3, 5));
    }
  }
}

TEST(ProgramTest, ValuesMayLieInHostMemory) {
  const pjrt::Client& client = pjrt::SharedCpuClient();
  const Shape shape{DType::kF32, {2}};
  Graph graph;
  const Tensor x = graph.AddInput(shape, {.name = "x", .memory_kind = "pinned_host"});
  {
    const Tracing tracing(graph);
    graph.AddOutput(x * 2.0, {.name = "on_host", .memory_kind = "pinned_host"});
    graph.AddOutput(x + 1.0, {.name = "on_device"});
  }
  const Program program = Program::Compile(client, graph);
  EXPECT_THAT(program.executable().executable().output_memory_kinds(),
              ElementsAre("pinned_host", "device"));
  const Floats values = {1, 2};
  pjrt::Buffer argument =
      pjrt::Buffer::FromHost(client.default_device(), shape, std::as_bytes(std::span(values)),
                             {.memory_kind = "pinned_host"});
  EXPECT_EQ(argument.memory().kind(), "pinned_host");
  const std::vector<pjrt::Buffer> results = program.Run(std::vector<pjrt::Buffer*>{&argument});
  EXPECT_EQ(results[0].memory().kind(), "pinned_host");
  EXPECT_EQ(results[1].memory().kind(), "device");
  EXPECT_THAT(results[0].ToVector<float>(), ElementsAre(2, 4));
  EXPECT_THAT(results[1].ToVector<float>(), ElementsAre(2, 3));
}

TEST(ProgramTest, WrongArgumentsAreNamed) {
  Graph graph;
  TraceInPlace(graph);
  const Program program = Program::Compile(pjrt::SharedCpuClient(), graph);
  pjrt::Buffer x = pjrt::Buffer::FromHost(pjrt::SharedCpuClient().default_device(),
                                          {DType::kF32, {3}}, std::vector<float>{1, 2, 3});
  const std::vector<pjrt::Buffer*> arguments = {&x};
  EXPECT_THAT([&] { program.Run(arguments); },
              ThrowsMessage<Error>(HasSubstr("expected f32[2] for 'x', got f32[3]")));
  EXPECT_THAT([&] { program.Run({}); },
              ThrowsMessage<Error>(HasSubstr("expected 1 arguments, got 0")));
}

// y = 2 x + 1 over a mesh of two devices, which split x.
Program CompileSharded(const pjrt::Client& client, int64_t size) {
  Graph graph;
  graph.set_mesh({{"data", 2}});
  const Sharding split{.axes = {{"data"}}};
  const Tensor x = graph.AddInput({DType::kF32, {size}}, {.name = "x", .sharding = split});
  const Tracing tracing(graph);
  graph.AddOutput(x * 2.0 + 1.0, {.name = "y", .sharding = split});
  return Program::Compile(client, graph);
}

TEST(ShardedProgramTest, TakesAndGivesShards) {
  const auto client = pjrt::CpuClient(2);
  const Program program = CompileSharded(*client, 4);
  EXPECT_EQ(program.inputs()[0].shape, (Shape{DType::kF32, {4}}));
  EXPECT_EQ(program.inputs()[0].shard, (Shape{DType::kF32, {2}}));
  const std::vector<pjrt::Device> devices = program.executable().devices();
  pjrt::Buffer left = pjrt::Buffer::FromHost(devices[0], {DType::kF32, {2}}, Floats{1, 2});
  pjrt::Buffer right = pjrt::Buffer::FromHost(devices[1], {DType::kF32, {2}}, Floats{3, 4});
  const std::vector<std::vector<pjrt::Buffer*>> arguments = {{&left}, {&right}};
  const auto results = program.RunSharded(arguments);
  EXPECT_THAT(results[0][0].ToVector<float>(), ElementsAre(3, 5));
  EXPECT_THAT(results[1][0].ToVector<float>(), ElementsAre(7, 9));
  EXPECT_EQ(results[1][0].shape(), program.outputs()[0].shard);
}

TEST(ShardedProgramTest, WrongShardsAreNamed) {
  const auto client = pjrt::CpuClient(2);
  const Program program = CompileSharded(*client, 4);
  const std::vector<pjrt::Device> devices = program.executable().devices();
  pjrt::Buffer left = pjrt::Buffer::FromHost(devices[0], {DType::kF32, {2}}, Floats{1, 2});
  pjrt::Buffer right = pjrt::Buffer::FromHost(devices[1], {DType::kF32, {2}}, Floats{3, 4});
  pjrt::Buffer whole = pjrt::Buffer::FromHost(devices[1], {DType::kF32, {4}}, Floats{1, 2, 3, 4});
  using Arguments = std::vector<std::vector<pjrt::Buffer*>>;
  const auto refusal = [&](const Arguments& arguments) {
    return MessageOf([&] { program.RunSharded(arguments); });
  };
  EXPECT_EQ(refusal({{&left}}), "[Program::RunSharded] expected the arguments of 2 devices, got 1");
  EXPECT_EQ(refusal({{&left}, {}}), "[Program::RunSharded] expected 1 arguments, got 0");
  EXPECT_EQ(refusal({{&left}, {&whole}}),
            "[Program::RunSharded] expected f32[2] for 'x', got f32[4]");
  EXPECT_EQ(refusal({{&left}, {&left}}),
            "[Program::RunSharded] expected 'x' on CpuDevice(id=1), got it on CpuDevice(id=0)");
  EXPECT_EQ(MessageOf([&] { program.Run(Arguments{{&left}}[0]); }),
            "[Program::Run] expected a program of 1 device, got 2");
}

TEST(ShardedProgramTest, UnevenShardsAreRefused) {
  const auto client = pjrt::CpuClient(2);
  EXPECT_EQ(
      MessageOf([&] { CompileSharded(*client, 3); }),
      "[x] expected dimension 0 of f32[3] to be a multiple of the 2 devices of 'data', got 3");
}

TEST(CompileCacheTest, SecondCompileComesFromDiskAndDamageIsIgnored) {
  const TemporaryFolder folder;
  const CompileCache cache(folder.path() / "cache");
  Graph graph;
  TraceInPlace(graph);
  EXPECT_FALSE(Program::Compile(pjrt::SharedCpuClient(), graph, {.cache = &cache}).from_cache());
  const Program cached = Program::Compile(pjrt::SharedCpuClient(), graph, {.cache = &cache});
  EXPECT_TRUE(cached.from_cache());
  pjrt::Buffer x = pjrt::Buffer::FromHost(pjrt::SharedCpuClient().default_device(),
                                          {DType::kF32, {2}}, std::vector<float>{1, 2});
  const std::vector<pjrt::Buffer*> arguments = {&x};
  EXPECT_THAT(cached.Run(arguments)[0].ToVector<float>(), ElementsAre(3, 5));

  for (const auto& entry : std::filesystem::directory_iterator(cache.folder())) {
    std::ofstream(entry.path(), std::ios::app) << "damage";
  }
  EXPECT_FALSE(Program::Compile(pjrt::SharedCpuClient(), graph, {.cache = &cache}).from_cache());
}

TEST(CompileCacheTest, OptionsAndProgramsHaveKeysOfTheirOwn) {
  const std::string key = CompileCache::Key(pjrt::SharedCpuClient(), "a", {});
  EXPECT_EQ(key, CompileCache::Key(pjrt::SharedCpuClient(), "a", {}));
  EXPECT_NE(key, CompileCache::Key(pjrt::SharedCpuClient(), "b", {}));
  EXPECT_NE(key, CompileCache::Key(pjrt::SharedCpuClient(), "a", {.num_partitions = 2}));
}

}  // namespace
}  // namespace sophia
