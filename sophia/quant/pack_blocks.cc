#include <algorithm>
#include <cstring>

#include "sophia/base/error.h"
#include "sophia/io/gguf_layouts.h"
#include "sophia/quant/packed_format.h"
#include "sophia/quant/store.h"

namespace sophia::quant {
namespace {

using Blocks = std::span<const std::byte>;

constexpr auto kTwos = std::byte{0xaa};  // 32 more than a nibble, in the two bits above each

const PackedPart* FindPart(const PackedFormat& format, PartKind kind) {
  const auto found = std::ranges::find(format.parts, kind, &PackedPart::kind);
  return found == format.parts.end() ? nullptr : &*found;
}

// A block's codes, one a byte, less what kHighCodes holds.
void SpreadCodes(const PackedFormat& format, const uint8_t* bytes, uint8_t* out) {
  const int64_t run = format.nibble_run;
  if (!format.has_nibbles()) {
    std::memcpy(out, bytes, static_cast<size_t>(format.block()));
    return;
  }
  for (int64_t first = 0; first < format.block(); first += 2 * run) {
    for (int64_t i = 0; i < run; ++i) {
      const uint8_t pair = bytes[first / 2 + i];
      out[first + i] = pair & 15;
      out[first + run + i] = pair >> 4;
    }
  }
}

void PackCodes(const PackedFormat& stored, const PackedFormat& format, const Dims& dims,
               Blocks blocks, std::span<std::byte> out) {
  std::vector<uint8_t> codes(static_cast<size_t>(Product(dims)));
  const auto* from =
      reinterpret_cast<const uint8_t*>(blocks.data()) + FindPart(stored, PartKind::kCodes)->offset;
  for (int64_t i = 0; i < Product(dims); i += stored.block(), from += stored.block_bytes) {
    SpreadCodes(stored, from, codes.data() + i);
  }
  StoreCodes(format, dims, codes, out);
}

// Fills `out`, [per_block · blocks of a row, rows], from `read(block, values)`, which writes a
// block's values.
template <typename T, typename Read>
void PackEach(const PackedFormat& stored, const Dims& dims, Blocks blocks, const Read& read,
              std::span<std::byte> out) {
  const int64_t count = Product(dims) / stored.block();
  std::vector<T> values(out.size() / sizeof(T));
  const auto per_block = static_cast<int64_t>(values.size()) / count;
  for (int64_t i = 0; i < count; ++i) {
    read(blocks.data() + i * stored.block_bytes, values.data() + i * per_block);
  }
  StoreTransposed(dims[0], static_cast<int64_t>(values.size()) / dims[0], values.data(),
                  reinterpret_cast<T*>(out.data()));
}

// The 6-bit scales or minima of a Q4_K block, each `copies` times.
void SpreadSixBits(const std::byte* bytes, bool minima, int64_t copies, uint8_t* out) {
  const auto* packed = reinterpret_cast<const uint8_t*>(bytes);
  for (int group = 0; group < 8; ++group) {
    const auto [scale, minimum] = io::blocks::ScaleAndMinK(packed, group);
    out = std::fill_n(out, copies, static_cast<uint8_t>(minima ? minimum : scale));
  }
}

void PackPart(const PackedFormat& stored, const PackedFormat& format, const PackedPart& part,
              const Dims& dims, Blocks blocks, std::span<std::byte> out) {
  const PackedPart* const from = FindPart(stored, part.kind);
  if (from == nullptr) {
    std::ranges::fill(out, part.kind == PartKind::kHighCodes ? kTwos : std::byte{0});
    return;
  }
  const auto copy = [&](const std::byte* block, auto* values) {
    const size_t bytes = out.size() / static_cast<size_t>(Product(dims) / stored.block());
    std::memcpy(values, block + from->offset, bytes);
  };
  const bool has_six_bits = stored.coding == Coding::kUint4 && stored.super_block > 0;
  if (part.kind == PartKind::kCodes) {
    PackCodes(stored, format, dims, blocks, out);
  } else if (part.kind == PartKind::kSubMinima ||
             (part.kind == PartKind::kSubScales && has_six_bits)) {
    const bool minima = part.kind == PartKind::kSubMinima;
    const int64_t copies = minima ? 1 : stored.group / format.group;
    PackEach<uint8_t>(
        stored, dims, blocks,
        [&](const std::byte* block, uint8_t* values) {
          SpreadSixBits(block + from->offset, minima, copies, values);
        },
        out);
  } else if (part.dtype == DType::kF16) {
    PackEach<uint16_t>(stored, dims, blocks, copy, out);
  } else {
    PackEach<uint8_t>(stored, dims, blocks, copy, out);
  }
}

}  // namespace

void PackBlocks(const PackedFormat& stored, const PackedFormat& format, const Dims& dims,
                Blocks blocks, PartBytes out, std::string_view where) {
  SOPHIA_CHECK(stored.block_bytes > 0 && out.size() == format.parts.size() &&
                   CommonFormat(stored, format) == &format,
               "blocks of {} as {}", stored.name, format.name);
  CheckCanPack(stored, dims, where);
  const int64_t count = Product(dims) / stored.block();
  if (static_cast<int64_t>(blocks.size()) != count * stored.block_bytes) {
    Fail(where, "expected {} bytes of {}, got {}", count * stored.block_bytes, stored.name,
         blocks.size());
  }
  for (size_t i = 0; i < format.parts.size(); ++i) {
    PackPart(stored, format, format.parts[i], dims, blocks, out[i]);
  }
}

}  // namespace sophia::quant
