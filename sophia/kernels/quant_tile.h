#pragma once

#include "sophia/pallas/kernel.h"
#include "sophia/quant/packed_format.h"

namespace sophia::kernels {

// Refs of one tile of a packed weight in VMEM; its dimensions are those of the stored codes, [in,
// rows] or, of formats that are not input-major, [rows, in].
struct TileRefs {
  pallas::Ref codes;
  std::vector<pallas::Ref> high_codes = {};
  // f32 [groups of the tile, lanes]; of input-major formats.
  std::vector<pallas::Ref> scales = {}, minima = {};
};

// Decodes a tile into `out` [tile rows, lanes], a few rows at a time: scaled, if input-major.
void DecodeTile(const quant::PackedFormat& format, int64_t panel, const TileRefs& tile,
                const pallas::Ref& out);

}  // namespace sophia::kernels
