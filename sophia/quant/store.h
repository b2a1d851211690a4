#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "sophia/quant/packed_format.h"

// Host arrays of a packed weight, from row-major ones.
namespace sophia::quant {

// codes: one a byte, [rows, in] -> the part kCodes of `format`.
void StoreCodes(const PackedFormat& format, const Dims& dims, std::span<const uint8_t> codes,
                std::span<std::byte> out);

// values: [rows, columns] -> [columns, rows].
template <typename T>
void StoreTransposed(int64_t rows, int64_t columns, const T* values, T* out) {
  constexpr int64_t kTile = 32;
  for (int64_t first_row = 0; first_row < rows; first_row += kTile) {
    const int64_t last_row = first_row + kTile < rows ? first_row + kTile : rows;
    for (int64_t column = 0; column < columns; ++column) {
      for (int64_t row = first_row; row < last_row; ++row) {
        out[column * rows + row] = values[row * columns + column];
      }
    }
  }
}

}  // namespace sophia::quant
