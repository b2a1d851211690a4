#include "sophia/kernels/quant_tile.h"

#include <algorithm>

#include "sophia/quant/nf4.h"

namespace sophia::kernels {
namespace {

using pallas::Ds;
using pallas::Val;

constexpr int64_t kByteRows = 32;  // rows of 8-bit arrays that a dynamic start steps by

// s32 codes to f32 values before the scale.
Val Decoded(quant::Coding coding, const Val& codes) {
  if (coding != quant::Coding::kNf4) {
    const Val values = pallas::Convert(codes, DType::kF32);
    if (coding == quant::Coding::kInt6) return values - 32.0;
    return coding == quant::Coding::kInt4 ? values - 8.0 : values;
  }
  std::vector<Val> values;
  for (const float value : quant::Nf4Table()) {
    values.push_back(pallas::Full({DType::kF32, codes.dims()}, value));
  }
  for (int64_t bit = 1; values.size() > 1; bit *= 2) {
    const Val is_set = pallas::Ne(codes & bit, 0);
    std::vector<Val> chosen;
    for (size_t i = 0; i < values.size(); i += 2) {
      chosen.push_back(pallas::Select(is_set, values[i + 1], values[i]));
    }
    values = std::move(chosen);
  }
  return values[0];
}

Val Plus(const Val& x, int64_t more) { return more == 0 ? x : x + more; }

// `values` belong to rows [first, first + values.dim(0)) of the tile: a part of a group, or groups.
void StoreScaled(const quant::PackedFormat& format, const TileRefs& tile, const Val& values,
                 const Val& first, const pallas::Ref& out) {
  const int64_t rows = values.dim(0);
  const int64_t run = format.input_major() ? std::min(rows, format.group) : rows;
  for (int64_t row = 0; row < rows; row += run) {
    Val scaled = run == rows ? values : SliceAxis(values, 0, row, row + run);
    const Val start = Plus(first, row);
    if (format.input_major()) {
      const Ds group(start / format.group, 1);
      scaled = scaled * tile.scales[0].At({group}).Load();
      if (!tile.minima.empty()) scaled = scaled + tile.minima[0].At({group}).Load();
    }
    out.At({Ds(start, run)}).Store(pallas::Convert(scaled, out.dtype()));
  }
}

// A chunk of two panels, 64 byte rows, and the 32 byte rows of the bits above their nibbles.
void DecodeSixBits(const quant::PackedFormat& format, const TileRefs& tile, const Val& i,
                   const pallas::Ref& out) {
  constexpr int64_t kHalf = kByteRows;
  const auto load = [&](const pallas::Ref& ref, int64_t rows) {
    return pallas::Convert(ref.At({Ds(i * rows, rows)}).Load(), DType::kS32);
  };
  const Val codes = load(tile.codes, 2 * kHalf);
  const Val high = load(tile.high_codes[0], kHalf);
  for (int64_t quarter = 0; quarter < 4; ++quarter) {
    const int64_t byte = quarter / 2 * kHalf;
    const Val bytes = SliceAxis(codes, 0, byte, byte + kHalf);
    const Val low = quarter % 2 == 0 ? bytes & 15 : pallas::ShiftRightLogical(bytes, 4);
    const Val above = pallas::ShiftRightLogical(high, 2 * quarter) & 3;
    StoreScaled(format, tile, Decoded(format.coding, low + above * 16),
                Plus(i * (4 * kHalf), quarter * kHalf), out);
  }
}

}  // namespace

void DecodeTile(const quant::PackedFormat& format, int64_t panel, const TileRefs& tile,
                const pallas::Ref& out) {
  const int64_t stored = tile.codes.dim(0);
  const int64_t least = tile.high_codes.empty() ? kByteRows : 2 * kByteRows;
  const int64_t chunk = stored % least == 0 ? least : stored;
  const auto decode = [&](const Val& i) {
    if (!tile.high_codes.empty()) return DecodeSixBits(format, tile, i, out);
    const Val codes = pallas::Convert(tile.codes.At({Ds(i * chunk, chunk)}).Load(), DType::kS32);
    if (!format.has_nibbles()) {
      // Grouped bytes have groups of 32 rows, which a chunk is or consists of.
      const int64_t run = format.input_major() ? std::min(chunk, format.group) : chunk;
      for (int64_t row = 0; row < chunk; row += run) {
        StoreScaled(format, tile, Decoded(format.coding, SliceAxis(codes, 0, row, row + run)),
                    Plus(i * chunk, row), out);
      }
      return;
    }
    const int64_t half = panel / 2;
    for (int64_t row = 0; row < chunk; row += half) {
      const Val bytes = SliceAxis(codes, 0, row, row + half);
      const Val first = Plus(i * (2 * chunk), 2 * row);
      StoreScaled(format, tile, Decoded(format.coding, bytes & 15), first, out);
      StoreScaled(format, tile, Decoded(format.coding, pallas::ShiftRightLogical(bytes, 4)),
                  first + half, out);
    }
  };
  if (chunk == stored) {
    decode(pallas::Full({DType::kS32, {}}, 0));
  } else {
    pallas::For(0, stored / chunk, decode);
  }
}

}  // namespace sophia::kernels
