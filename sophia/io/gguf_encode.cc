#include "sophia/io/gguf_encode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "sophia/base/error.h"
#include "sophia/io/gguf_blocks.h"
#include "sophia/io/gguf_k_search.h"
#include "sophia/io/gguf_layouts.h"

namespace sophia::io {
namespace {

// NOLINTNEXTLINE(google-build-using-namespace): all of it is for this file and the decoder.
using namespace blocks;

float Inverse(float x) { return x == 0 ? 0.0f : 1.0f / x; }

// The element of largest magnitude, with its sign.
float Extreme(const float* x, int count) {
  return *std::max_element(x, x + count,
                           [](float a, float b) { return std::fabs(a) < std::fabs(b); });
}

uint8_t Nibbles(int low, int high) { return static_cast<uint8_t>(low | high << 4); }

void Encode(const float* x, BlockQ8T0& block) {
  const float d = std::fabs(Extreme(x, kSmallBlock)) / 127.0f;
  block.d = ToHalf(d);
  const float inverse = Inverse(d);
  for (int i = 0; i < kSmallBlock; ++i) {
    block.q[i] = static_cast<int8_t>(std::round(x[i] * inverse));
  }
}

// Integers from 0 to 2 * middle - 1 that stand for d * (q - middle); the extreme value is exact.
std::array<int, kSmallBlock> CentredIntegers(const float* x, int middle, Half& d) {
  const float step = Extreme(x, kSmallBlock) / static_cast<float>(-middle);
  d = ToHalf(step);
  const float inverse = Inverse(step);
  std::array<int, kSmallBlock> q;
  for (int i = 0; i < kSmallBlock; ++i) {
    const float shifted = x[i] * inverse + static_cast<float>(middle) + 0.5f;
    q[i] = std::min(2 * middle - 1, static_cast<int>(shifted));
  }
  return q;
}

void Encode(const float* x, BlockQ4T0& block) {
  const auto q = CentredIntegers(x, 8, block.d);
  for (int i = 0; i < 16; ++i) block.low_high[i] = Nibbles(q[i], q[i + 16]);
}

void Encode(const float* x, BlockQ5T0& block) {
  const auto q = CentredIntegers(x, 16, block.d);
  uint32_t fifth = 0;
  for (int i = 0; i < kSmallBlock; ++i) fifth |= static_cast<uint32_t>(q[i] >> 4) << i;
  std::memcpy(block.fifth, &fifth, sizeof(fifth));
  for (int i = 0; i < 16; ++i) block.low_high[i] = Nibbles(q[i] & 15, q[i + 16] & 15);
}

// The place that ScaleAndMinK of the decoder reads.
void StoreScaleAndMin(int group, int scale, int minimum, uint8_t* scales) {
  if (group < 4) {
    scales[group] |= static_cast<uint8_t>(scale);
    scales[group + 4] |= static_cast<uint8_t>(minimum);
    return;
  }
  scales[group + 4] = Nibbles(scale & 15, minimum & 15);
  scales[group - 4] |= static_cast<uint8_t>(scale >> 4 << 6);
  scales[group] |= static_cast<uint8_t>(minimum >> 4 << 6);
}

int Rounded(float x, int low, int high) {
  return std::clamp(static_cast<int>(std::lround(x)), low, high);
}

void Encode(const float* x, BlockQ4K& block) {
  constexpr int kGroups = 8;
  constexpr int kGroup = 32;
  std::array<AffineFit, kGroups> fits;
  float largest_scale = 0;
  float largest_min = 0;
  for (int group = 0; group < kGroups; ++group) {
    fits[group] = FitAffine({x + group * kGroup, kGroup}, 15);
    largest_scale = std::max(largest_scale, fits[group].scale);
    largest_min = std::max(largest_min, fits[group].minimum);
  }
  block = {};
  block.d = ToHalf(largest_scale / 63);
  block.d_min = ToHalf(largest_min / 63);
  for (int group = 0; group < kGroups; ++group) {
    const int scale_bits = Rounded(fits[group].scale * Inverse(Value(block.d)), 0, 63);
    const int min_bits = Rounded(fits[group].minimum * Inverse(Value(block.d_min)), 0, 63);
    StoreScaleAndMin(group, scale_bits, min_bits, block.scales);
    const float inverse = Inverse(Value(block.d) * static_cast<float>(scale_bits));
    const float minimum = Value(block.d_min) * static_cast<float>(min_bits);
    uint8_t* bytes = block.low_high + 32 * (group / 2);
    for (int i = 0; i < kGroup; ++i) {
      const int q = Rounded((x[group * kGroup + i] + minimum) * inverse, 0, 15);
      bytes[i] |= static_cast<uint8_t>(q << (group % 2 * 4));
    }
  }
}

void Encode(const float* x, BlockQ6K& block) {
  constexpr int kGroups = 16;
  constexpr int kGroup = 16;
  std::array<float, kGroups> scales;
  for (int group = 0; group < kGroups; ++group) {
    scales[group] = FitScale({x + group * kGroup, kGroup}, 32);
  }
  block = {};
  block.d = ToHalf(Extreme(scales.data(), kGroups) / -128.0f);
  for (int group = 0; group < kGroups; ++group) {
    const int scale_bits = Rounded(scales[group] * Inverse(Value(block.d)), -128, 127);
    block.scales[group] = static_cast<int8_t>(scale_bits);
    const float inverse = Inverse(Value(block.d) * static_cast<float>(scale_bits));
    const int half = group / 8;
    const int quarter = group % 8 / 2;
    const int start = 16 * (group % 2);
    uint8_t* low = block.low + 64 * half + 32 * (quarter % 2) + start;
    uint8_t* high = block.high + 32 * half + start;
    for (int i = 0; i < kGroup; ++i) {
      const int q = Rounded(x[group * kGroup + i] * inverse, -32, 31) + 32;
      low[i] |= static_cast<uint8_t>((q & 15) << (quarter / 2 * 4));
      high[i] |= static_cast<uint8_t>((q >> 4) << (2 * quarter));
    }
  }
}

template <typename Block, int kElements>
void EncodeBlocks(std::span<const float> values, std::byte* out) {
  const size_t count = values.size() / kElements;
  for (size_t i = 0; i < count; ++i) {
    Block block;
    Encode(values.data() + i * kElements, block);
    std::memcpy(out + i * sizeof(Block), &block, sizeof(Block));
  }
}

template <uint16_t (*kRound)(float)>
void EncodeHalves(std::span<const float> values, std::byte* out) {
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = kRound(values[i]);
    std::memcpy(out + 2 * i, &bits, sizeof(bits));
  }
}

void Copy(std::span<const float> values, std::byte* out) {
  std::memcpy(out, values.data(), values.size_bytes());
}

struct Encoder {
  std::string_view storage;
  void (*encode)(std::span<const float> values, std::byte* out);
};

constexpr std::array<Encoder, 8> kEncoders = {{
    {"F32", Copy},
    {"F16", EncodeHalves<FloatToF16>},
    {"BF16", EncodeHalves<FloatToBf16>},
    {"Q8_0", EncodeBlocks<BlockQ8T0, kSmallBlock>},
    {"Q4_0", EncodeBlocks<BlockQ4T0, kSmallBlock>},
    {"Q5_0", EncodeBlocks<BlockQ5T0, kSmallBlock>},
    {"Q4_K", EncodeBlocks<BlockQ4K, kSuperBlock>},
    {"Q6_K", EncodeBlocks<BlockQ6K, kSuperBlock>},
}};

const Encoder* FindEncoder(std::string_view storage) {
  const auto found = std::ranges::find(kEncoders, storage, &Encoder::storage);
  return found == kEncoders.end() ? nullptr : &*found;
}

}  // namespace

void EncodeGguf(std::string_view storage, std::span<const float> values, std::span<std::byte> out) {
  const Encoder* encoder = FindEncoder(storage);
  SOPHIA_CHECK(encoder != nullptr, "no encoder for {}", storage);
  const Storage layout = GgufStorage(GgufTypeOf(storage).value()).value();
  const auto count = static_cast<int64_t>(values.size());
  SOPHIA_CHECK(
      count % layout.block_elements == 0 &&
          static_cast<int64_t>(out.size()) == count / layout.block_elements * layout.block_bytes,
      "{} values of {} in {} bytes", count, storage, out.size());
  encoder->encode(values, out.data());
}

}  // namespace sophia::io
