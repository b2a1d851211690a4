#include "sophia/kernels/quant_tile.h"

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

// Rows of equal scale: `values` belong to rows [first, first + values.dim(0)) of the tile.
void StoreScaled(const quant::PackedFormat& format, const TileRefs& tile, Val values,
                 const Val& first, const pallas::Ref& out) {
  const int64_t rows = values.dim(0);
  if (format.input_major()) {
    const Ds group(first / format.group, 1);
    values = values * tile.scales[0].At({group}).Load();
    if (!tile.minima.empty()) values = values + tile.minima[0].At({group}).Load();
  }
  out.At({Ds(first, rows)}).Store(pallas::Convert(values, out.dtype()));
}

}  // namespace

void DecodeTile(const quant::PackedFormat& format, int64_t panel, const TileRefs& tile,
                const pallas::Ref& out) {
  const int64_t stored = tile.codes.dim(0);
  const int64_t chunk = stored % kByteRows == 0 ? kByteRows : stored;
  const auto decode = [&](const Val& i) {
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
