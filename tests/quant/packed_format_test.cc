// Packed weights, unpacked by a compiled program, against the reader of the file format.
#include "sophia/quant/packed_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>

#include "sophia/base/error_for_test.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/io/gguf_blocks.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/runtime/program.h"

namespace sophia::quant {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<std::byte>;

const Dims kDims = {6, 96};

// Random bytes; parts of type f16 become finite, some of them subnormal, negative or zero.
Bytes RandomBlocks(const PackedFormat& format, int64_t count) {
  std::mt19937 random(7);
  Bytes blocks(static_cast<size_t>(count * format.block_bytes));
  for (std::byte& byte : blocks) byte = static_cast<std::byte>(random());
  for (const PackedPart& part : format.parts) {
    if (part.dtype != DType::kF16) continue;
    for (int64_t i = 0; i < count; ++i) {
      std::byte& high = blocks[static_cast<size_t>(i * format.block_bytes + part.offset + 1)];
      high &= i % 3 == 0 ? std::byte{0x83} : std::byte{0xbb};
    }
  }
  return blocks;
}

std::vector<float> Reference(const PackedFormat& format, const Bytes& blocks) {
  const auto storage = io::GgufStorage(io::GgufTypeOf(format.name).value()).value();
  const int64_t count = static_cast<int64_t>(blocks.size()) / storage.block_bytes;
  std::vector<float> values(static_cast<size_t>(count * storage.block_elements));
  storage.dequantize(blocks.data(), count, values.data());
  return values;
}

std::vector<pjrt::Buffer> PartsOf(const PackedFormat& format, const Bytes& blocks) {
  std::vector<pjrt::Buffer> buffers;
  for (size_t i = 0; i < format.parts.size(); ++i) {
    const Shape shape{format.parts[i].dtype, PartDims(format, i, kDims)};
    Bytes part(static_cast<size_t>(shape.bytes()));
    PackPart(format, i, kDims, blocks, part, "test");
    buffers.push_back(pjrt::Buffer::FromHost(pjrt::SharedCpuClient().default_device(), shape,
                                             std::span<const std::byte>(part)));
  }
  return buffers;
}

// What `trace` makes of the parts, as f32.
std::vector<float> Compute(const PackedFormat& format, const Bytes& blocks,
                           const std::function<Tensor(std::span<const Tensor>)>& trace) {
  std::vector<pjrt::Buffer> buffers = PartsOf(format, blocks);
  Graph graph;
  std::vector<Tensor> parts;
  std::vector<pjrt::Buffer*> arguments;
  for (pjrt::Buffer& buffer : buffers) {
    parts.push_back(graph.AddInput(buffer.shape(), {}));
    arguments.push_back(&buffer);
  }
  const Tracing tracing(graph);
  graph.AddOutput(trace(parts), {});
  return Program::Compile(pjrt::SharedCpuClient(), graph).Run(arguments)[0].ToVector<float>();
}

class PackedFormatTest : public ::testing::TestWithParam<size_t> {
 protected:
  const PackedFormat& format() const { return PackedFormats()[GetParam()]; }
  Bytes blocks() const { return RandomBlocks(format(), Product(kDims) / format().block); }
};

TEST_P(PackedFormatTest, PartsHoldAllBytesOfABlock) {
  int64_t bits = 0;
  for (const PackedPart& part : format().parts) {
    bits += part.per_block * (part.nibble_run > 0 ? 4 : Info(part.dtype).bits);
  }
  EXPECT_EQ(bits, 8 * format().block_bytes);
}

TEST_P(PackedFormatTest, UnpacksToTheFilesValues) {
  const std::vector<float> expected = Reference(format(), blocks());
  const std::vector<float> got =
      Compute(format(), blocks(), [&](std::span<const Tensor> parts) -> Tensor {
        return Unpack(format(), parts, DType::kF32);
      });
  ASSERT_EQ(got.size(), expected.size());
  EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0);
  EXPECT_NE(expected.front(), expected.back());
}

TEST_P(PackedFormatTest, TakesRows) {
  const std::vector<float> all = Reference(format(), blocks());
  const std::vector<int32_t> ids = {5, 0, 2, 3, 3};
  const std::vector<float> got =
      Compute(format(), blocks(), [&](std::span<const Tensor> parts) -> Tensor {
        const Tensor rows = ConstantS32({1, 5}, ids);
        return Reshape(UnpackRows(format(), parts, rows, DType::kF32), {5, kDims[1]});
      });
  const auto width = static_cast<size_t>(kDims[1]);
  for (size_t i = 0; i < ids.size(); ++i) {
    const float* row = all.data() + static_cast<size_t>(ids[i]) * width;
    EXPECT_EQ(std::memcmp(got.data() + i * width, row, width * sizeof(float)), 0) << "row " << i;
  }
}

TEST_P(PackedFormatTest, RefusesWhatDoesNotFit) {
  EXPECT_FALSE(CanPack(format(), {6, 80}));
  EXPECT_FALSE(CanPack(format(), {96}));
  EXPECT_FALSE(CanPack(format(), {0, 96}));
  Bytes out;
  const auto pack = [&](const Dims& dims) {
    PackPart(format(), 0, dims, blocks(), out, "model.gguf: blk.0.attn_q.weight");
  };
  EXPECT_THAT(MessageOf([&] {
                pack({6, 80});
              }),
              HasSubstr("[model.gguf: blk.0.attn_q.weight] expected sizes [rows, in] with in a "
                        "multiple of 32"));
  EXPECT_THAT(MessageOf([&] {
                pack({4, 96});
              }),
              HasSubstr("bytes of " + std::string(format().name)));
}

INSTANTIATE_TEST_SUITE_P(All, PackedFormatTest, ::testing::Range<size_t>(0, 3),
                         [](const auto& test) {
                           return std::string(PackedFormats()[test.param].name);
                         });

TEST(PackedFormatsTest, NibblesNeedPairsOfRows) {
  EXPECT_FALSE(CanPack(*FindPackedFormat("Q4_1"), {5, 96}));
  EXPECT_TRUE(CanPack(*FindPackedFormat("Q8_0"), {5, 96}));
  EXPECT_EQ(FindPackedFormat("F32"), nullptr);
  EXPECT_EQ(PackedFormats().size(), 3u);
}

}  // namespace
}  // namespace sophia::quant
