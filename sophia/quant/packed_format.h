#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sophia/graph/tensor.h"

namespace sophia::quant {

// One of the arrays that a packed weight is kept in. A weight [rows, in] in blocks of `block`
// elements gives an array [rows, in / block, per_block]; nibbles give u8 [rows / 2, …]: byte row r
// holds row r in its low and row r + rows / 2 in its high halves, so that unpacking runs along
// whole blocks.
struct PackedPart {
  std::string_view name;
  DType dtype;
  int64_t per_block;  // elements of each block, nibbles counted singly
  int64_t offset;     // of the part's first byte in a block of the file
  // 0: bytes as they lie in the block. Else 4-bit elements: of each 2 * nibble_run, element i is in
  // the low half of byte i and element i + nibble_run in its high half.
  int64_t nibble_run = 0;
};

// A way to keep weights in device memory at a few bits an element.
struct PackedFormat {
  std::string_view name;  // as io::Storage calls the blocks of a file: "Q4_1"
  int64_t block;          // elements, along the last dimension
  int64_t block_bytes;    // in the file
  std::vector<PackedPart> parts;
  // The f32 values [..., block] from the parts' elements, in the order of `parts`, each
  // [..., per_block] in its own type.
  Tensor (*values)(std::span<const Tensor> parts);
};

std::span<const PackedFormat> PackedFormats();
// nullptr when blocks of that name have no packed form.
const PackedFormat* FindPackedFormat(std::string_view name);

// Whether a weight of sizes `dims` can be kept so: [rows, in] in whole blocks, and an even number
// of rows for nibbles.
bool CanPack(const PackedFormat& format, const Dims& dims);
// The sizes of one part of a weight that can be packed.
Dims PartDims(const PackedFormat& format, size_t part, const Dims& dims);

// Copies one part out of a weight's blocks as they lie in a file into `out`, of PartDims. Throws
// Error naming `where` for sizes that cannot be packed or do not fit the bytes.
void PackPart(const PackedFormat& format, size_t part, const Dims& dims,
              std::span<const std::byte> blocks, std::span<std::byte> out, std::string_view where);

// The weight [rows, in] in `dtype`: bit for bit what reading the file as `dtype` gives.
Tensor Unpack(const PackedFormat& format, std::span<const Tensor> parts, DType dtype);
// Its rows at `ids`, integers [...] -> [..., in], without unpacking others.
Tensor UnpackRows(const PackedFormat& format, std::span<const Tensor> parts, const Tensor& ids,
                  DType dtype);

}  // namespace sophia::quant
