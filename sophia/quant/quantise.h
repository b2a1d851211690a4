#pragma once

#include <span>
#include <string_view>

#include "sophia/quant/packed_format.h"

namespace sophia::quant {

// Quantises a weight, f32 [rows, in], into the arrays of a format that is_quantised. Throws Error
// naming `where` for sizes that cannot be packed and values that are not finite.
//   nf4: as bitsandbytes' quantize_4bit with compress_statistics on the CPU. The offset, a mean, is
//     summed in f64; torch's sum may differ in the last bit, where f32 is not exact.
//   int8: scale = absmax of the row / 127, code = value / scale, rounded to nearest even.
//   int4: symmetric; scale = absmax of the group / 7 in bf16, code = value / scale, rounded to
//     nearest even, within [-8, 7].
void Quantise(const PackedFormat& format, const Dims& dims, std::span<const float> values,
              PartBytes out, std::string_view where);

}  // namespace sophia::quant
