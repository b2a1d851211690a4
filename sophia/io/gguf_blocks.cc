#include "sophia/io/gguf_blocks.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "sophia/base/strings.h"
#include "sophia/io/gguf_layouts.h"

namespace sophia::io {
namespace {

// NOLINTNEXTLINE(google-build-using-namespace): all of it is for this file and the encoder.
using namespace blocks;

static_assert(std::endian::native == std::endian::little, "GGUF is read in little-endian order");

void Decode(const BlockQ4T0& block, float* out) {
  const float d = Value(block.d);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((block.low_high[i] & 15) - 8);
    out[i + 16] = d * static_cast<float>((block.low_high[i] >> 4) - 8);
  }
}

void Decode(const BlockQ4T1& block, float* out) {
  const float d = Value(block.d);
  const float m = Value(block.m);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(block.low_high[i] & 15) + m;
    out[i + 16] = d * static_cast<float>(block.low_high[i] >> 4) + m;
  }
}

// The 5-bit integers of a Q5_0 or Q5_1 block.
template <typename Block>
void FiveBits(const Block& block, int* out) {
  uint32_t fifth = 0;
  std::memcpy(&fifth, block.fifth, sizeof(fifth));
  for (int i = 0; i < 16; ++i) {
    out[i] = (block.low_high[i] & 15) | static_cast<int>((fifth >> i & 1) << 4);
    out[i + 16] = (block.low_high[i] >> 4) | static_cast<int>((fifth >> (i + 16) & 1) << 4);
  }
}

void Decode(const BlockQ5T0& block, float* out) {
  const float d = Value(block.d);
  int q[kSmallBlock];
  FiveBits(block, q);
  for (int i = 0; i < kSmallBlock; ++i) out[i] = d * static_cast<float>(q[i] - 16);
}

void Decode(const BlockQ5T1& block, float* out) {
  const float d = Value(block.d);
  const float m = Value(block.m);
  int q[kSmallBlock];
  FiveBits(block, q);
  for (int i = 0; i < kSmallBlock; ++i) out[i] = d * static_cast<float>(q[i]) + m;
}

void Decode(const BlockQ8T0& block, float* out) {
  const float d = Value(block.d);
  for (int i = 0; i < kSmallBlock; ++i) out[i] = d * static_cast<float>(block.q[i]);
}

// Elements come in halves of 128; in each, 32 bytes hold four quarters of 32, two bits each.
void Decode(const BlockQ2K& block, float* out) {
  const float d = Value(block.d);
  const float d_min = Value(block.d_min);
  for (int group = 0; group < 16; ++group) {
    const float scale = d * static_cast<float>(block.scale_min[group] & 15);
    const float minimum = d_min * static_cast<float>(block.scale_min[group] >> 4);
    const int half = group / 8;
    const int shift = group % 8 / 2 * 2;
    const uint8_t* q = block.q + 32 * half + 16 * (group % 2);
    for (int i = 0; i < 16; ++i) {
      *out++ = scale * static_cast<float>(q[i] >> shift & 3) - minimum;
    }
  }
}

// Scale `group` of 16: four low bits in the first eight bytes, two high bits in the last four.
int ScaleQ3K(const uint8_t* scales, int group) {
  const int low = scales[group % 8] >> (group / 8 * 4) & 15;
  const int high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
  return (low | high << 4) - 32;
}

void Decode(const BlockQ3K& block, float* out) {
  const float d = Value(block.d);
  for (int group = 0; group < 16; ++group) {
    const float scale = d * static_cast<float>(ScaleQ3K(block.scales, group));
    const int half = group / 8;
    const int quarter = group % 8 / 2;
    const uint8_t* q = block.q + 32 * half + 16 * (group % 2);
    const uint8_t* high = block.high + 16 * (group % 2);
    for (int i = 0; i < 16; ++i) {
      const int low = q[i] >> (2 * quarter) & 3;
      const int third = high[i] >> (4 * half + quarter) & 1;
      *out++ = scale * static_cast<float>(low + 4 * third - 4);
    }
  }
}

// Eight groups of 32 nibbles, each with a scale and a minimum. `high(group, i)` is what stands
// above the nibble of element i.
template <typename Block, typename High>
void DecodeNibblesK(const Block& block, const High& high, float* out) {
  const float d = Value(block.d);
  const float d_min = Value(block.d_min);
  for (int group = 0; group < 8; ++group) {
    const auto [scale_bits, min_bits] = ScaleAndMinK(block.scales, group);
    const float scale = d * static_cast<float>(scale_bits);
    const float minimum = d_min * static_cast<float>(min_bits);
    const uint8_t* q = block.low_high + 32 * (group / 2);
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int value = (q[i] >> shift & 15) | high(group, i) << 4;
      *out++ = scale * static_cast<float>(value) - minimum;
    }
  }
}

void Decode(const BlockQ4K& block, float* out) {
  DecodeNibblesK(
      block, [](int, int) { return 0; }, out);
}

void Decode(const BlockQ5K& block, float* out) {
  DecodeNibblesK(
      block, [&](int group, int i) { return block.fifth[i] >> group & 1; }, out);
}

// In each half of 128, quarter j of 32 has low bits in nibble j / 2 of bytes 32 * (j % 2) … and two
// high bits at 2 * j.
void Decode(const BlockQ6K& block, float* out) {
  const float d = Value(block.d);
  for (int group = 0; group < 16; ++group) {
    const float scale = d * static_cast<float>(block.scales[group]);
    const int half = group / 8;
    const int quarter = group % 8 / 2;
    const int start = 16 * (group % 2);
    const uint8_t* low = block.low + 64 * half + 32 * (quarter % 2) + start;
    const uint8_t* high = block.high + 32 * half + start;
    const int shift = quarter / 2 * 4;
    for (int i = 0; i < 16; ++i) {
      const int value = (low[i] >> shift & 15) | (high[i] >> (2 * quarter) & 3) << 4;
      *out++ = scale * static_cast<float>(value - 32);
    }
  }
}

template <typename Block, int kElements>
void Dequantize(const std::byte* blocks, int64_t count, float* out) {
  static_assert(alignof(Block) == 1);
  for (int64_t i = 0; i < count; ++i) {
    Decode(reinterpret_cast<const Block*>(blocks)[i], out + i * kElements);
  }
}

template <typename Block, int kElements>
constexpr Storage Quantised(std::string_view name) {
  return {name, DType::kF32, kElements, sizeof(Block), Dequantize<Block, kElements>};
}

struct Row {
  uint32_t type;
  Storage storage;
};

constexpr std::array<Row, 18> kSupported = {{
    {0, {"F32", DType::kF32, 1, 4}},
    {1, {"F16", DType::kF16, 1, 2}},
    {30, {"BF16", DType::kBF16, 1, 2}},
    {28, {"F64", DType::kF64, 1, 8}},
    {24, {"I8", DType::kS8, 1, 1}},
    {25, {"I16", DType::kS16, 1, 2}},
    {26, {"I32", DType::kS32, 1, 4}},
    {27, {"I64", DType::kS64, 1, 8}},
    {2, Quantised<BlockQ4T0, kSmallBlock>("Q4_0")},
    {3, Quantised<BlockQ4T1, kSmallBlock>("Q4_1")},
    {6, Quantised<BlockQ5T0, kSmallBlock>("Q5_0")},
    {7, Quantised<BlockQ5T1, kSmallBlock>("Q5_1")},
    {8, Quantised<BlockQ8T0, kSmallBlock>("Q8_0")},
    {10, Quantised<BlockQ2K, kSuperBlock>("Q2_K")},
    {11, Quantised<BlockQ3K, kSuperBlock>("Q3_K")},
    {12, Quantised<BlockQ4K, kSuperBlock>("Q4_K")},
    {13, Quantised<BlockQ5K, kSuperBlock>("Q5_K")},
    {14, Quantised<BlockQ6K, kSuperBlock>("Q6_K")},
}};

static_assert(sizeof(BlockQ4T0) == 18 && sizeof(BlockQ4T1) == 20 && sizeof(BlockQ5T0) == 22 &&
              sizeof(BlockQ5T1) == 24 && sizeof(BlockQ8T0) == 34 && sizeof(BlockQ2K) == 84 &&
              sizeof(BlockQ3K) == 110 && sizeof(BlockQ4K) == 144 && sizeof(BlockQ5K) == 176 &&
              sizeof(BlockQ6K) == 210);

constexpr std::pair<uint32_t, std::string_view> kUnsupported[] = {
    {9, "Q8_1"},    {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
    {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"}, {29, "IQ1_M"},   {34, "TQ1_0"},
    {35, "TQ2_0"},  {39, "MXFP4"}, {40, "NVFP4"},   {41, "Q1_0"},
};

}  // namespace

std::optional<Storage> GgufStorage(uint32_t type) {
  for (const Row& row : kSupported) {
    if (row.type == type) return row.storage;
  }
  return std::nullopt;
}

std::optional<uint32_t> GgufTypeOf(std::string_view storage_name) {
  for (const Row& row : kSupported) {
    if (row.storage.name == storage_name) return row.type;
  }
  return std::nullopt;
}

std::string DescribeGgufType(uint32_t type) {
  for (const Row& row : kSupported) {
    if (row.type == type) return fmt::format("{} (type {})", row.storage.name, type);
  }
  for (const auto& [id, name] : kUnsupported) {
    if (id == type) return fmt::format("{} (type {})", name, type);
  }
  return fmt::format("type {}", type);
}

std::string SupportedGgufTypes() {
  std::vector<std::string> names;
  for (const Row& row : kSupported) names.emplace_back(row.storage.name);
  return Join(names, ", ");
}

}  // namespace sophia::io
