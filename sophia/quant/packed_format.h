#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sophia/graph/tensor.h"

namespace sophia::quant {

// What the codes of a packed weight stand for, before the scale.
enum class Coding : uint8_t {
  kInt8,   // s8 itself
  kUint4,  // 0 … 15
  kInt4,   // the nibble less 8
  kInt6,   // 0 … 63 less 32: nibbles, and two bits of kHighCodes above
  kNf4,    // Nf4Table()
};

enum class PartKind : uint8_t {
  kCodes,
  kHighCodes,
  kScales,
  kMinima,  // added to the scaled codes
  // Of formats with super-blocks: scale = kSuperScales · kSubScales, minimum = -kSuperMinima ·
  // kSubMinima.
  kSubScales,
  kSubMinima,
  kSuperScales,
  kSuperMinima,
  // Double-quantised scales: table[code] · absmax[code's place / 256] + offset, see nf4.h.
  kScaleCodes,
  kScaleAbsmax,
  kScaleOffset,
};

// One of the arrays that a packed weight is kept in.
struct PackedPart {
  std::string_view name;
  PartKind kind;
  DType dtype;
  int64_t offset = 0;  // of the part's first byte in a block of a GGUF file
};

// A way to keep weights [rows, in] in device memory at a few bits an element. With groups along the
// input, arrays are stored input-major, [in, rows], so that a product x·Wᵀ reads them as they lie
// and a scale covers whole rows of codes. Nibbles are two rows of a panel of P = PanelRows(in) rows
// in one byte: byte row p·P/2 + r holds row p·P + r in its low and row p·P + P/2 + r in its high
// half, so that unpacking moves whole rows.
//   kCodes: u8 [in / 2, rows], s8 [in, rows], or s8 [rows, in] when a scale covers a whole row
//   kHighCodes: u8 [in / 4, rows]; byte row p·32 + r holds, at bits 2·j, what stands above the
//   nibble of row p·128 + 32·j + r
//   kScales, kMinima: [in / group, rows], or [rows] when they cover a whole row
//   kSubScales: s8 [in / group, rows], kSubMinima: u8 [in / 32, rows], kSuperScales and
//   kSuperMinima: f16 [in / super_block, rows]
//   kScaleCodes: u8 [n, 256], kScaleAbsmax: f32 [n]; a code for each group, rows first, zeros at
//   the end; kScaleOffset: f32 [1]
struct PackedFormat {
  std::string_view name;  // as io::Storage calls the blocks of a file: "Q4_1"; or as --quant: "nf4"
  Coding coding;
  int64_t group;            // elements along the input that share a scale; 0: all of a row
  int64_t super_block = 0;  // elements whose scales share a factor; 0: none do
  int64_t block_bytes = 0;  // of a block() in a GGUF file; 0: no file holds this
  // Of a block in a GGUF file, in runs of twice as many elements: those that are so far apart share
  // a byte.
  int64_t nibble_run = 0;
  bool is_quantised = false;  // made on load by Quantise
  std::vector<PackedPart> parts;

  // Elements along the input that come only together.
  int64_t block() const { return super_block > 0 ? super_block : group; }
  bool has_nibbles() const { return coding != Coding::kInt8; }
  bool input_major() const { return group > 0; }
};

std::span<const PackedFormat> PackedFormats();
// nullptr when there is no format of that name.
const PackedFormat* FindPackedFormat(std::string_view name);
// What weights of both formats can be kept in without a change to their values; nullptr: nothing.
const PackedFormat* CommonFormat(const PackedFormat& a, const PackedFormat& b);

// Rows of `in` that one panel of nibbles has: the largest power of two up to 64 that divides it.
int64_t PanelRows(int64_t in);

// Whether a weight of sizes `dims` can be kept so: [rows, in] in whole groups.
bool CanPack(const PackedFormat& format, const Dims& dims);
// Throws Error naming `where` when it cannot, with the formats of the same width that can.
void CheckCanPack(const PackedFormat& format, const Dims& dims, std::string_view where);

// The sizes of one part of a weight that can be packed.
Dims PartDims(const PackedFormat& format, size_t part, const Dims& dims);

// The host arrays of all parts, in the order of `parts`, of PartDims.
using PartBytes = std::span<const std::span<std::byte>>;

// Packs a weight's blocks, which lie as in a GGUF file of `stored`, into the arrays of `format`:
// the same or a CommonFormat. Throws Error naming `where` for sizes that cannot be packed or do not
// fit the bytes.
void PackBlocks(const PackedFormat& stored, const PackedFormat& format, const Dims& dims,
                std::span<const std::byte> blocks, PartBytes out, std::string_view where);

}  // namespace sophia::quant
