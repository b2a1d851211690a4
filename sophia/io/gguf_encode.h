#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sophia::io {

// Encodes whole blocks of f32 values as they lie in a GGUF file: F32, F16, BF16, Q8_0, Q4_0, Q5_0,
// Q4_K or Q6_K. Q8_0, Q4_0 and Q5_0 follow ggml's
// reference quantisation bit for bit; the K-quants choose the scales of their groups by a search
// for the least squared error. `values` are a multiple of the block; `out` has exactly their bytes.
void EncodeGguf(std::string_view storage, std::span<const float> values, std::span<std::byte> out);

}  // namespace sophia::io
