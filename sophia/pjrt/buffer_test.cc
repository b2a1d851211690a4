#include "sophia/pjrt/buffer.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <numeric>
#include <thread>

#include "sophia/pjrt/executable.h"
#include "sophia/pjrt/test_support.h"

namespace sophia::pjrt {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::StartsWith;

std::vector<std::byte> Bytes(size_t count, int modulus = 256) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>((i * 37 + 11) % modulus);
  return bytes;
}

class TransferOfType : public testing::TestWithParam<DType> {};

TEST_P(TransferOfType, RoundTrips) {
  const auto client = CpuClient();
  const Shape shape{GetParam(), {3, 5}};
  std::vector<std::byte> sent = Bytes(shape.bytes(), GetParam() == DType::kBool ? 2 : 256);
  if (Info(GetParam()).bits == 4) sent.back() &= std::byte{15};
  for (const auto semantics :
       {HostSemantics::kCopy, HostSemantics::kAsync, HostSemantics::kZeroCopy}) {
    const Buffer buffer =
        Buffer::FromHost(client->default_device(), shape, sent, {.semantics = semantics});
    EXPECT_EQ(buffer.shape(), shape);
    std::vector<std::byte> received(sent.size());
    buffer.ToHost(received);
    EXPECT_EQ(received, sent) << static_cast<int>(semantics);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TransferOfType,
                         testing::Values(DType::kBool, DType::kS4, DType::kU4, DType::kS8,
                                         DType::kU8, DType::kS16, DType::kU16, DType::kS32,
                                         DType::kU32, DType::kS64, DType::kU64, DType::kF8E4M3FN,
                                         DType::kF8E5M2, DType::kBF16, DType::kF16, DType::kF32,
                                         DType::kF64),
                         [](const auto& param_info) {
                           return std::string(Name(param_info.param));
                         });

TEST(Buffer, FourBitElementsKeepTheirOrderAndSign) {
  const auto client = CpuClient();
  const auto widen = LoadedExecutable::Compile(*client, R"(
    func.func public @main(%x: tensor<3xi4>) -> tensor<3xi32> {
      %y = stablehlo.convert %x : (tensor<3xi4>) -> tensor<3xi32>
      return %y : tensor<3xi32>
    })");
  Buffer x = Buffer::FromHost<uint8_t>(client->default_device(), {DType::kS4, {3}}, {0xf1, 0x07});
  EXPECT_THAT(widen.Execute(std::vector{&x})[0].ToVector<int32_t>(), ElementsAre(1, -1, 7));
}

TEST(Buffer, ScalarsAndEmptyArraysTravel) {
  const auto client = CpuClient();
  const Buffer scalar =
      Buffer::FromHost<float>(client->default_device(), {DType::kF32, {}}, {2.5f});
  EXPECT_THAT(scalar.ToVector<float>(), ElementsAre(2.5f));
  const Buffer empty = Buffer::FromHost<float>(client->default_device(), {DType::kF32, {0, 4}}, {});
  EXPECT_TRUE(empty.ToVector<float>().empty());
}

TEST(Buffer, ResultsInAnotherLayoutAreReadRowMajor) {
  const auto client = CpuClient();
  const auto transposed = LoadedExecutable::Compile(*client, R"(
    func.func public @main(%x: tensor<2x3xf32>)
        -> (tensor<2x3xf32> {mhlo.layout_mode = "{0,1}"}) {
      %y = stablehlo.add %x, %x : tensor<2x3xf32>
      return %y : tensor<2x3xf32>
    })");
  Buffer x =
      Buffer::FromHost<float>(client->default_device(), {DType::kF32, {2, 3}}, {1, 2, 3, 4, 5, 6});
  const Buffer y = std::move(transposed.Execute(std::vector{&x})[0]);
  EXPECT_THAT(y.ToVector<float>(), ElementsAre(2, 4, 6, 8, 10, 12));
  y.Await();
  const auto* data = reinterpret_cast<const float*>(y.UnsafePointer().value());
  EXPECT_EQ(data[1], 8);
}

TEST(Buffer, WrongSizesAreErrors) {
  const auto client = CpuClient();
  EXPECT_EQ(MessageOf([&] {
              Buffer::FromHost<float>(client->default_device(), {DType::kF32, {2, 2}}, {1, 2, 3});
            }),
            "[PJRT_Client_BufferFromHostBuffer] expected 16 bytes for f32[2, 2], got 12");
  const Buffer buffer = Buffer::FromHost<float>(client->default_device(), {DType::kF32, {1}}, {1});
  std::vector<std::byte> large(5);
  EXPECT_EQ(MessageOf([&] { buffer.ToHost(large); }),
            "[PJRT_Buffer_ToHostBuffer] expected 4 bytes for f32[1], got 5");
  EXPECT_EQ(MessageOf([&] { buffer.ToVector<double>(); }),
            "[ToVector] expected elements of 64 bits, got f32[1]");
}

TEST(Buffer, ZeroCopyReadsHostMemoryInPlaceAndReleasesItsOwner) {
  const auto client = CpuClient();
  const size_t size = 4096;
  const std::shared_ptr<void> owner(std::aligned_alloc(64, size), std::free);
  auto* values = static_cast<float*>(owner.get());
  std::iota(values, values + size / sizeof(float), 0.0f);
  {
    const Buffer buffer = Buffer::FromHost(
        client->default_device(), {DType::kF32, {static_cast<int64_t>(size / sizeof(float))}},
        {static_cast<const std::byte*>(owner.get()), size},
        {.semantics = HostSemantics::kZeroCopy, .keep_alive = owner});
    EXPECT_EQ(buffer.UnsafePointer(), reinterpret_cast<uintptr_t>(values));
    EXPECT_EQ(buffer.ToVector<float>()[1000], 1000);
    EXPECT_EQ(owner.use_count(), 2);
  }
  EXPECT_EQ(owner.use_count(), 1);
}

TEST(Buffer, AssignmentFreesTheOldArrayAtOnce) {
  const auto client = CpuClient();
  const std::shared_ptr<void> owner(std::aligned_alloc(64, 64), std::free);
  const Shape shape{DType::kF32, {16}};
  Buffer buffer = Buffer::FromHost(client->default_device(), shape,
                                   {static_cast<const std::byte*>(owner.get()), 64},
                                   {.semantics = HostSemantics::kZeroCopy, .keep_alive = owner});
  Buffer other = Buffer::FromHost(client->default_device(), shape, std::vector<float>(16, 5));
  buffer = std::move(other);
  EXPECT_EQ(owner.use_count(), 1);
  EXPECT_EQ(buffer.ToVector<float>()[0], 5);
}

TEST(Buffer, AsyncTransferReleasesItsOwnerWhenDone) {
  const auto client = CpuClient();
  auto values = std::make_shared<std::vector<float>>(1 << 20, 3.0f);
  const Buffer buffer = Buffer::FromHost(
      client->default_device(), {DType::kF32, {1 << 20}}, std::as_bytes(std::span(*values)),
      {.semantics = HostSemantics::kAsync, .keep_alive = values});
  buffer.Await();
  EXPECT_TRUE(buffer.IsReady());
  const std::weak_ptr<std::vector<float>> watch = values;
  values.reset();
  for (int i = 0; i < 1000 && !watch.expired(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(watch.expired());
  EXPECT_EQ(buffer.ToVector<float>().back(), 3);
}

TEST(Buffer, ReadsAsynchronously) {
  const auto client = CpuClient();
  const Buffer buffer =
      Buffer::FromHost<int64_t>(client->default_device(), {DType::kS64, {3}}, {7, 8, 9});
  std::vector<int64_t> values(3);
  const Event event = buffer.ToHostAsync(std::as_writable_bytes(std::span(values)));
  event.Await();
  EXPECT_TRUE(event.IsReady());
  EXPECT_THAT(values, ElementsAre(7, 8, 9));
}

TEST(Buffer, DeletedBufferSaysSo) {
  const auto client = CpuClient();
  Buffer buffer = Buffer::FromHost<float>(client->default_device(), {DType::kF32, {2}}, {1, 2});
  EXPECT_FALSE(buffer.IsDeleted());
  EXPECT_EQ(buffer.device_bytes(), 8);
  buffer.Delete();
  EXPECT_TRUE(buffer.IsDeleted());
  EXPECT_EQ(buffer.shape(), (Shape{DType::kF32, {2}}));
  EXPECT_THAT(MessageOf([&] { buffer.ToVector<float>(); }),
              StartsWith("[PJRT_Buffer_ToHostBuffer] "));
}

TEST(Buffer, LivesInPinnedHostMemory) {
  const auto client = CpuClient();
  const Device device = client->default_device();
  const Buffer buffer =
      Buffer::FromHost(device, {DType::kU8, {4}}, Bytes(4), {.memory_kind = "pinned_host"});
  EXPECT_EQ(buffer.memory().kind(), "pinned_host");
  const Buffer on_device = buffer.CopyTo(device.default_memory());
  EXPECT_EQ(on_device.memory(), device.default_memory());
  EXPECT_EQ(on_device.ToVector<std::byte>(), Bytes(4));
  const Buffer back = on_device.CopyTo(device.FindMemory("pinned_host").value());
  EXPECT_EQ(back.memory().kind(), "pinned_host");
  EXPECT_THAT(MessageOf([&] {
                Buffer::FromHost(device, {DType::kU8, {4}}, Bytes(4), {.memory_kind = "flux"});
              }),
              EndsWith("got flux"));
}

TEST(Buffer, CopiesToAnotherDevice) {
  const auto client = CpuClient(2);
  const std::vector<Device> devices = client->devices();
  const Buffer first = Buffer::FromHost<float>(devices[0], {DType::kF32, {2}}, {1, 2});
  const Buffer second = first.CopyTo(devices[1]);
  EXPECT_EQ(first.device(), devices[0]);
  EXPECT_EQ(second.device(), devices[1]);
  EXPECT_THAT(second.ToVector<float>(), ElementsAre(1, 2));
}

TEST(Buffer, OutlivesTheCallersClient) {
  auto client = CpuClient();
  const Buffer buffer = Buffer::FromHost<float>(client->default_device(), {DType::kF32, {1}}, {4});
  client.reset();
  EXPECT_THAT(buffer.ToVector<float>(), ElementsAre(4));
}

}  // namespace
}  // namespace sophia::pjrt
