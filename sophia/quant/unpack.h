#pragma once

#include <cstdint>
#include <span>

#include "sophia/graph/ops/slice_ops.h"
#include "sophia/quant/packed_format.h"

// Packed weights in graph ops.
namespace sophia::quant {

// What kernels and plain ops read: codes as stored, scales in f32, [in / group, rows] or [1, rows],
// and minima like them or undefined. Scales of several parts are expanded: 4 bytes a group.
struct PackedTensors {
  Tensor codes;
  Tensor high_codes = {};
  Tensor scales = {};
  Tensor minima = {};
  int64_t rows = 0;
  int64_t in = 0;
};
// Of a part of the rows, where not all are asked for.
PackedTensors Expand(const PackedFormat& format, std::span<const Tensor> parts,
                     const EqualPart& rows = {});

// The weight [rows, in] in `dtype`, rounded once from f32: of GGUF blocks bit for bit what reading
// the file as `dtype` gives, of nf4 what bitsandbytes' dequantize_4bit gives.
Tensor Unpack(const PackedFormat& format, std::span<const Tensor> parts, DType dtype);
// Its rows at `ids`, integers [...] -> [..., in], without unpacking others.
Tensor UnpackRows(const PackedFormat& format, std::span<const Tensor> parts, const Tensor& ids,
                  DType dtype);

// x·Wᵀ with W, or a part of its rows, unpacked to x's type: [..., in] -> [..., rows].
Tensor MatMulPacked(const Tensor& x, const PackedFormat& format, std::span<const Tensor> parts,
                    const EqualPart& rows = {});

}  // namespace sophia::quant
