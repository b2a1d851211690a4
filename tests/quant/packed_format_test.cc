// Packed weights, unpacked by a compiled program, against the reader of the file format.
#include "sophia/quant/packed_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "sophia/base/error_for_test.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/io/gguf_blocks.h"
#include "sophia/quant/unpack.h"
#include "tests/quant/host_parts.h"

namespace sophia::quant {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<std::byte>;

// Three blocks wide.
Dims DimsOf(const PackedFormat& format) { return {6, 3 * format.block()}; }

// The formats of GGUF files.
std::vector<const PackedFormat*> FileFormats() {
  std::vector<const PackedFormat*> formats;
  for (const PackedFormat& format : PackedFormats()) {
    if (format.block_bytes > 0) formats.push_back(&format);
  }
  return formats;
}

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

HostParts PartsOf(const PackedFormat& stored, const PackedFormat& format, const Dims& dims,
                  const Bytes& blocks) {
  HostParts parts(format, dims);
  PackBlocks(stored, format, dims, blocks, parts.bytes(), "test");
  return parts;
}

void ExpectValues(const PackedFormat& format, const HostParts& parts,
                  const std::vector<float>& expected) {
  const std::vector<float> got =
      parts.Compute([&](Inputs inputs) -> Tensor { return Unpack(format, inputs, DType::kF32); });
  ASSERT_EQ(got.size(), expected.size());
  EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0);
}

class PackedFormatTest : public ::testing::TestWithParam<const PackedFormat*> {
 protected:
  const PackedFormat& format() const { return *GetParam(); }
  const Dims dims_ = DimsOf(format());
  Bytes blocks(const Dims& dims) const {
    return RandomBlocks(format(), Product(dims) / format().block());
  }
  HostParts Parts(const Dims& dims) const {
    return PartsOf(format(), format(), dims, blocks(dims));
  }
};

TEST_P(PackedFormatTest, PartsHoldAllBytesOfABlock) {
  int64_t bytes = 0;
  for (size_t i = 0; i < format().parts.size(); ++i) {
    bytes += ByteSize(format().parts[i].dtype, Product(PartDims(format(), i, dims_)));
  }
  // A byte for each of Q4_K's scales and minima, which are 6 bits there.
  const int64_t wider = format().name == "Q4_K" ? 4 * Product(dims_) / format().block() : 0;
  EXPECT_EQ(bytes, static_cast<int64_t>(blocks(dims_).size()) + wider);
}

TEST_P(PackedFormatTest, UnpacksToTheFilesValues) {
  const int64_t block = format().block();
  for (const Dims& dims : {dims_, Dims{3, block}, Dims{70, 4 * block}}) {
    const std::vector<float> expected = Reference(format(), blocks(dims));
    ExpectValues(format(), Parts(dims), expected);
    EXPECT_NE(expected.front(), expected.back());
  }
}

TEST_P(PackedFormatTest, TakesRows) {
  const std::vector<float> all = Reference(format(), blocks(dims_));
  const std::vector<int32_t> ids = {5, 0, 2, 3, 3};
  const std::vector<float> got = Parts(dims_).Compute([&](Inputs parts) -> Tensor {
    const Tensor rows = ConstantS32({1, 5}, ids);
    return Reshape(UnpackRows(format(), parts, rows, DType::kF32), {5, dims_[1]});
  });
  const auto width = static_cast<size_t>(dims_[1]);
  for (size_t i = 0; i < ids.size(); ++i) {
    const float* row = all.data() + static_cast<size_t>(ids[i]) * width;
    EXPECT_EQ(std::memcmp(got.data() + i * width, row, width * sizeof(float)), 0) << "row " << i;
  }
}

TEST_P(PackedFormatTest, RefusesWhatDoesNotFit) {
  EXPECT_FALSE(CanPack(format(), {6, 80}));
  EXPECT_FALSE(CanPack(format(), {96}));
  EXPECT_FALSE(CanPack(format(), {0, dims_[1]}));
  HostParts parts(format(), dims_);
  const auto pack = [&](const Dims& dims) {
    PackBlocks(format(), format(), dims, blocks(dims_), parts.bytes(),
               "model.gguf: blk.0.attn_q.weight");
  };
  EXPECT_THAT(MessageOf([&] {
                pack({6, 80});
              }),
              HasSubstr(fmt::format("[model.gguf: blk.0.attn_q.weight] expected sizes [rows, in] "
                                    "with in a multiple of {}",
                                    format().block())));
  EXPECT_THAT(MessageOf([&] {
                pack({4, dims_[1]});
              }),
              HasSubstr("bytes of " + std::string(format().name)));
}

TEST(MixtureTest, HoldsBothFormatsUnchanged) {
  const PackedFormat& four = *FindPackedFormat("Q4_K");
  const PackedFormat& six = *FindPackedFormat("Q6_K");
  const PackedFormat* const mixture = CommonFormat(four, six);
  ASSERT_NE(mixture, nullptr);
  EXPECT_EQ(CommonFormat(*mixture, four), mixture);
  EXPECT_EQ(CommonFormat(four, four), &four);
  EXPECT_EQ(CommonFormat(four, *FindPackedFormat("Q4_0")), nullptr);
  for (const PackedFormat* stored : {&four, &six}) {
    const Dims dims = DimsOf(*stored);
    const Bytes blocks = RandomBlocks(*stored, Product(dims) / stored->block());
    ExpectValues(*mixture, PartsOf(*stored, *mixture, dims, blocks), Reference(*stored, blocks));
  }
}

INSTANTIATE_TEST_SUITE_P(All, PackedFormatTest, ::testing::ValuesIn(FileFormats()),
                         [](const auto& test) { return std::string(test.param->name); });

}  // namespace
}  // namespace sophia::quant
