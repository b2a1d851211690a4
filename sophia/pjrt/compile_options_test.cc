#include "sophia/pjrt/compile_options.h"

#include <gmock/gmock.h>

#include "sophia/base/proto_writer.h"
#include "sophia/pjrt/executable.h"
#include "sophia/pjrt/test_support.h"

namespace sophia::pjrt {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kIdentity =
    "func.func public @main(%x: tensor<2xf32>) -> tensor<2xf32> { return %x : tensor<2xf32> }";

std::string FromHex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

TEST(ProtoWriter, WritesTheWireFormat) {
  ProtoWriter inner;
  inner.Int(1, 150);
  EXPECT_EQ(inner.bytes(), FromHex("089601"));
  ProtoWriter outer;
  outer.Message(3, inner);
  outer.Bytes(2, "testing");
  outer.Bool(1, true);
  outer.Double(4, 1.0);
  outer.Int(17, -1);
  EXPECT_EQ(outer.bytes(), FromHex("1a03089601"
                                   "120774657374696e67"
                                   "0801"
                                   "21000000000000f03f"
                                   "8801ffffffffffffffffff01"));
}

TEST(CompileOptions, EncodesEveryField) {
  const std::string plain = Encode({});
  EXPECT_EQ(plain, FromHex("1a1408ffffffffffffffffff0120012801300098"
                           "0100")
                       .replace(1, 1, 1, static_cast<char>(plain.size() - 2)));
  const std::string sharded = Encode(
      {.num_partitions = 2, .use_spmd = true, .use_shardy = true, .device_assignment = {{4, 5}}});
  EXPECT_THAT(sharded, HasSubstr(FromHex("2001280230014a0c"
                                         "08011002"
                                         "1a020804"
                                         "1a020805"
                                         "980101")));
  EXPECT_THAT(Encode({.overrides = {{"a", int64_t{3}}, {"b", std::string("x")}}}),
              HasSubstr(FromHex("3a070a016112021803"
                                "3a080a016212030a0178")));
}

TEST(CompileOptions, WrongAssignmentIsAnError) {
  EXPECT_EQ(MessageOf([] { Encode({.num_partitions = 2, .device_assignment = {{0}}}); }),
            "[CompileOptions] expected a device assignment of 1 replicas by 2 partitions, got 1 by "
            "1");
}

TEST(CompileOptions, OverridesReachTheCompiler) {
  const auto client = CpuClient();
  const CompileOptions valid{.overrides = {{"xla_backend_optimization_level", int64_t{1}},
                                           {"xla_cpu_enable_fast_math", true},
                                           {"xla_cpu_max_isa", std::string("AVX2")}}};
  EXPECT_EQ(LoadedExecutable::Compile(*client, kIdentity, valid).executable().num_outputs(), 1);
  const CompileOptions unknown{.overrides = {{"xla_no_such_option", true}}};
  EXPECT_THAT(MessageOf([&] { LoadedExecutable::Compile(*client, kIdentity, unknown); }),
              HasSubstr("xla_no_such_option"));
  const CompileOptions mistyped{.overrides = {{"xla_cpu_enable_fast_math", std::string("maybe")}}};
  EXPECT_THAT(MessageOf([&] { LoadedExecutable::Compile(*client, kIdentity, mistyped); }),
              StartsWith("[PJRT_Client_Compile] "));
}

TEST(CompileOptions, AssignmentPicksTheDevice) {
  const auto client = CpuClient(2);
  const Device second = client->devices()[1];
  const auto executable =
      LoadedExecutable::Compile(*client, kIdentity, {.device_assignment = {{second.id()}}});
  EXPECT_THAT(executable.devices(), testing::ElementsAre(second));
  Buffer x = Buffer::FromHost<float>(second, {DType::kF32, {2}}, {1, 2});
  EXPECT_EQ(executable.Execute(std::vector{&x})[0].device(), second);
}

}  // namespace
}  // namespace sophia::pjrt
