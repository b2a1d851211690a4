#include "sophia/pjrt/ffi.h"

#include <gmock/gmock.h>

#include "xla/ffi/api/ffi.h"

#include "sophia/pjrt/executable.h"
#include "sophia/pjrt/test_support.h"

namespace sophia::pjrt {
namespace {

namespace ffi = xla::ffi;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

ffi::Error Axpy(float alpha, ffi::Buffer<ffi::F32> x, ffi::Buffer<ffi::F32> y,
                ffi::ResultBuffer<ffi::F32> out) {
  if (alpha < 0) return ffi::Error::InvalidArgument("alpha is negative");
  for (size_t i = 0; i < out->element_count(); ++i) {
    out->typed_data()[i] = alpha * x.typed_data()[i] + y.typed_data()[i];
  }
  return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER(kAxpy, Axpy,
                       ffi::Ffi::Bind()
                           .Attr<float>("alpha")
                           .Arg<ffi::Buffer<ffi::F32>>()
                           .Arg<ffi::Buffer<ffi::F32>>()
                           .Ret<ffi::Buffer<ffi::F32>>());

LoadedExecutable CompileAxpy(const Client& client, std::string_view target, float alpha) {
  return LoadedExecutable::Compile(client, fmt::format(R"(
    func.func public @main(%x: tensor<3xf32>, %y: tensor<3xf32>) -> tensor<3xf32> {{
      %z = stablehlo.custom_call @{}(%x, %y) {{
        api_version = 4 : i32, backend_config = {{alpha = {:.1f} : f32}}
      }} : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
      return %z : tensor<3xf32>
    }})",
                                                       target, alpha));
}

std::vector<float> RunAxpy(const Client& client, float alpha) {
  const Shape shape{DType::kF32, {3}};
  Buffer x = Buffer::FromHost<float>(client.default_device(), shape, {1, 2, 3});
  Buffer y = Buffer::FromHost<float>(client.default_device(), shape, {10, 20, 30});
  return CompileAxpy(client, "test_axpy", alpha).Execute(std::vector{&x, &y})[0].ToVector<float>();
}

TEST(Ffi, CallsACppHandler) {
  const auto client = CpuClient();
  ASSERT_TRUE(HasFfi(client->plugin()));
  RegisterFfiHandler(client->plugin(), "test_axpy", "Host", kAxpy);
  EXPECT_THAT(RunAxpy(*client, 2), ElementsAre(12, 24, 36));
}

TEST(Ffi, HandlersErrorSurfaces) {
  const auto client = CpuClient();
  RegisterFfiHandler(client->plugin(), "test_axpy", "Host", kAxpy);
  EXPECT_THAT(MessageOf([&] { RunAxpy(*client, -1); }),
              AllOf(StartsWith("[PJRT_"), HasSubstr("alpha is negative")));
}

TEST(Ffi, UnknownTargetIsAnError) {
  const auto client = CpuClient();
  EXPECT_THAT(MessageOf([&] { CompileAxpy(*client, "nobody", 1); }), HasSubstr("nobody"));
}

TEST(Ffi, PluginWithoutTheExtensionIsAnError) {
  PJRT_Api api = CopyOfApi();
  api.extension_start = nullptr;
  const auto plugin = Plugin::Wrap(&api, "plain.so");
  EXPECT_FALSE(HasFfi(*plugin));
  EXPECT_THAT(MessageOf([&] { RegisterFfiHandler(*plugin, "test_axpy", "Host", kAxpy); }),
              StartsWith("[PJRT_FFI_Register_Handler] UNIMPLEMENTED: "));
}

}  // namespace
}  // namespace sophia::pjrt
