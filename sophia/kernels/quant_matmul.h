#pragma once

#include <span>

#include "sophia/graph/ops/slice_ops.h"
#include "sophia/kernels/kernel_target.h"
#include "sophia/quant/packed_format.h"

namespace sophia::kernels {

struct QuantMatMulOptions {
  EqualPart rows = {};  // of W, which are multiplied
  // 0: by chip and shape.
  int64_t block_rows = 0;      // of x, a multiple of 16
  int64_t block_out = 0;       // columns of the result, a multiple of 128
  int64_t block_contract = 0;  // contracted at a time, a multiple of 128
};

// y = x·Wᵀ with a packed weight W [rows, in], for layers whose weight is frozen: x gets the
// gradient dy·W by a kernel of the same form, W none. x: [..., in], bf16 or f32, -> [..., rows] of
// its type, of the rows of options.rows. parts: of `format`, in order.
//
// Tiles: grid {columns, rows of x, contraction}. A program multiplies a block of x with a tile of
// W. While the first rows of x pass, the tiles of a column block are decoded into VMEM in x's type,
// where they stay for the other rows: each weight is fetched and decoded once a column block.
// Nibbles become whole rows (see PackedFormat), so decoding moves nothing between lanes; NF4 is 15
// selects. Scales of groups are rows that cover sublanes. Scales of several parts are expanded by
// plain ops before the kernel; int8's scales multiply the result (forward) or dy (backward).
// VMEM, b bytes an element of x: 2b · block_rows · (block_contract + block_out) + 4 · block_rows ·
// block_out + b · contracted size · block_out + twice the codes and scales of a tile.
// Numerics: weights are decoded in f32 and rounded to x's type, products accumulate in f32 (on v2
// and v3 from f32 operands), one rounding at the end. Mode kReference unpacks, then multiplies.
Tensor QuantMatMul(const Tensor& x, const quant::PackedFormat& format,
                   std::span<const Tensor> parts, const KernelTarget& target,
                   const QuantMatMulOptions& options = {});

}  // namespace sophia::kernels
