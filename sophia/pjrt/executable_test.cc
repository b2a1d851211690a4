#include "sophia/pjrt/executable.h"

#include <gmock/gmock.h>

#include "sophia/pjrt/test_support.h"

namespace sophia::pjrt {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kMatmul = R"(
module @matmul {
  func.func public @main(%a: tensor<2x3xf32>, %b: tensor<3x2xf32>) -> tensor<2x2xf32> {
    %c = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
        : (tensor<2x3xf32>, tensor<3x2xf32>) -> tensor<2x2xf32>
    return %c : tensor<2x2xf32>
  }
})";

TEST(Executable, CompilesAndRunsText) {
  const auto client = CpuClient();
  const Device device = client->default_device();
  const auto executable = LoadedExecutable::Compile(*client, kMatmul);
  Buffer a = Buffer::FromHost<float>(device, {DType::kF32, {2, 3}}, {1, 2, 3, 4, 5, 6});
  Buffer b = Buffer::FromHost<float>(device, {DType::kF32, {3, 2}}, {1, 0, 0, 1, 1, 1});
  const std::vector<Buffer> results = executable.Execute(std::vector{&a, &b});
  ASSERT_EQ(results.size(), 1u);
  EXPECT_EQ(results[0].shape(), (Shape{DType::kF32, {2, 2}}));
  EXPECT_THAT(results[0].ToVector<float>(), ElementsAre(4, 5, 10, 11));
}

TEST(Executable, CompileErrorNamesTheCall) {
  const auto client = CpuClient();
  EXPECT_THAT(MessageOf([&] { LoadedExecutable::Compile(*client, "module { nonsense }"); }),
              HasSubstr("[PJRT_Client_Compile] UNKNOWN: -:1:10: error"));
}

}  // namespace
}  // namespace sophia::pjrt
