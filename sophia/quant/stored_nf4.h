#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sophia/quant/packed_format.h"

namespace sophia::quant {

// A weight as bitsandbytes' quantize_4bit leaves it on disk, in blocks of 64 along all elements in
// a row. Empty nested_absmax: absmax is f32, one a block. Else absmax is u8, and a block's scale is
// nested_map[code] · nested_absmax[block / 256] + nested_offset.
struct StoredNf4 {
  std::span<const std::byte> codes;   // two a byte, the earlier one in the high half
  std::span<const std::byte> absmax;  // not aligned
  std::vector<float> nested_absmax = {};
  std::vector<float> nested_map = {};  // [256]
  float nested_offset = 0;

  // The format that keeps the bytes: "nf4", or "nf4_plain" for scales that are not nested or have
  // another map than DynamicMap().
  const PackedFormat& Format() const;
};

// Packs a weight, without a change to its values, into Format() or "nf4_plain".
void PackNf4(const StoredNf4& stored, const PackedFormat& format, const Dims& dims, PartBytes out);

// The values of `out`.size() elements, bit for bit those of bitsandbytes' dequantize_4bit in f32.
void DequantiseNf4(const StoredNf4& stored, std::span<float> out);

}  // namespace sophia::quant
