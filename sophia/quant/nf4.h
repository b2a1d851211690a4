#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "sophia/graph/tensor.h"

// 4-bit NormalFloat with double-quantised scales (QLoRA, https://arxiv.org/abs/2305.14314), in the
// numbers of bitsandbytes.
namespace sophia::quant {

inline constexpr int64_t kNf4Group = 64;     // elements that share a scale
inline constexpr int64_t kScaleGroup = 256;  // scales that share an absmax

// The 16 values of a code, rising.
std::span<const float> Nf4Table();

// The values of codes 127 … 254 of the 8-bit dynamic map (https://arxiv.org/abs/1511.04561), rising
// from zero. Code 127 - i stands for the negative of code 127 + i, and code 255 for 1.
std::span<const float> DynamicTable();
// The values of all codes, rising.
std::array<float, 256> DynamicMap();

// The scales of `count` groups, f32 [count], in the order of the codes u8 [n, 256], with absmax f32
// [n] and offset f32 [1]: value of the code times absmax, rounded to f32, plus offset.
Tensor ExpandScales(const Tensor& codes, const Tensor& absmax, const Tensor& offset, int64_t count);

// table[codes] of a table of a power of two: as selects by bit, which vectorise on every platform.
Tensor Lookup(const Tensor& codes, std::span<const float> table);

}  // namespace sophia::quant
