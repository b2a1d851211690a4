#include "sophia/quant/store.h"

#include <algorithm>
#include <cstring>

namespace sophia::quant {
namespace {

constexpr int64_t kRowTile = 32;

void StoreNibbles(int64_t rows, int64_t in, const uint8_t* codes, uint8_t* out) {
  const int64_t panel = PanelRows(in);
  const int64_t half = panel / 2;
  for (int64_t first_row = 0; first_row < rows; first_row += kRowTile) {
    const int64_t last_row = std::min(first_row + kRowTile, rows);
    for (int64_t byte = 0; byte < in / 2; ++byte) {
      const int64_t low = byte / half * panel + byte % half;
      for (int64_t row = first_row; row < last_row; ++row) {
        const uint8_t* const code = codes + row * in + low;
        out[byte * rows + row] = static_cast<uint8_t>(code[0] | code[half] << 4);
      }
    }
  }
}

}  // namespace

void StoreCodes(const PackedFormat& format, const Dims& dims, std::span<const uint8_t> codes,
                std::span<std::byte> out) {
  auto* const bytes = reinterpret_cast<uint8_t*>(out.data());
  if (!format.input_major()) {
    std::memcpy(bytes, codes.data(), codes.size());
  } else if (format.has_nibbles()) {
    StoreNibbles(dims[0], dims[1], codes.data(), bytes);
  } else {
    StoreTransposed(dims[0], dims[1], codes.data(), bytes);
  }
}

}  // namespace sophia::quant
