#include "sophia/quant/unpack.h"

#include "sophia/base/error.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/quant/nf4.h"

namespace sophia::quant {
namespace {

const Tensor* FindPart(const PackedFormat& format, std::span<const Tensor> parts, PartKind kind) {
  for (size_t i = 0; i < parts.size(); ++i) {
    if (format.parts[i].kind == kind) return &parts[i];
  }
  return nullptr;
}

// u8 [in / 2, rows] -> [in, rows], one nibble each.
Tensor Nibbles(const Tensor& codes) {
  const int64_t in = codes.dim(0) * 2;
  const int64_t rows = codes.dim(1);
  const int64_t panel = PanelRows(in);
  const Tensor bytes = Reshape(codes, {in / panel, 1, panel / 2, rows});
  const Tensor shift = Iota({DType::kU8, {1, 2, 1, 1}}, 1) * 4.0;
  return Reshape(And(ShiftRightLogical(bytes, shift), 15.0), {in, rows});
}

Tensor Decoded(Coding coding, const Tensor& codes) {
  if (coding == Coding::kNf4) return Lookup(codes, Nf4Table());
  const Tensor values = Convert(codes, DType::kF32);
  return coding == Coding::kInt4 ? values - 8.0 : values;
}

// f32 values as stored: [in, rows], or [rows, in] when not input-major. The scaled codes of formats
// with minima are exact in f32 (11 bits times 4), so a compiler that fuses the product with the sum
// does not change the value.
Tensor StoredValues(const PackedFormat& format, const PackedTensors& w) {
  if (!format.input_major()) {
    return Decoded(format.coding, w.codes) * Reshape(w.scales, {w.rows, 1});
  }
  const Tensor codes = format.has_nibbles() ? Nibbles(w.codes) : w.codes;
  const Tensor grouped =
      Reshape(Decoded(format.coding, codes), {w.in / format.group, format.group, w.rows});
  Tensor values = grouped * ExpandDims(w.scales, 1);
  if (w.minima.defined()) values = values + ExpandDims(w.minima, 1);
  return Reshape(values, {w.in, w.rows});
}

}  // namespace

PackedTensors Expand(const PackedFormat& format, std::span<const Tensor> parts) {
  SOPHIA_CHECK(parts.size() == format.parts.size(), "{} parts of {}", parts.size(), format.name);
  PackedTensors w{.codes = *FindPart(format, parts, PartKind::kCodes)};
  w.rows = w.codes.dim(format.input_major() ? 1 : 0);
  w.in = w.codes.dim(format.input_major() ? 0 : 1) * (format.has_nibbles() ? 2 : 1);
  const int64_t groups = format.input_major() ? w.in / format.group : 1;
  if (const Tensor* codes = FindPart(format, parts, PartKind::kScaleCodes)) {
    const Tensor scales =
        ExpandScales(*codes, *FindPart(format, parts, PartKind::kScaleAbsmax),
                     *FindPart(format, parts, PartKind::kScaleOffset), w.rows * groups);
    w.scales = Transpose(Reshape(scales, {w.rows, groups}), {1, 0});
  } else {
    const Tensor& scales = *FindPart(format, parts, PartKind::kScales);
    w.scales = Reshape(Convert(scales, DType::kF32), {groups, w.rows});
  }
  if (const Tensor* minima = FindPart(format, parts, PartKind::kMinima)) {
    w.minima = Convert(*minima, DType::kF32);
  }
  return w;
}

Tensor Unpack(const PackedFormat& format, std::span<const Tensor> parts, DType dtype) {
  const Tensor values = Convert(StoredValues(format, Expand(format, parts)), dtype);
  return format.input_major() ? Transpose(values, {1, 0}) : values;
}

Tensor UnpackRows(const PackedFormat& format, std::span<const Tensor> parts, const Tensor& ids,
                  DType dtype) {
  PackedTensors w = Expand(format, parts);
  const Tensor flat = Reshape(ids, {-1});
  w.rows = flat.dim(0);
  w.codes = Take(w.codes, flat, format.input_major() ? 1 : 0);
  w.scales = Take(w.scales, flat, 1);
  if (w.minima.defined()) w.minima = Take(w.minima, flat, 1);
  const Tensor values = Convert(StoredValues(format, w), dtype);
  Dims dims = ids.dims();
  dims.push_back(w.in);
  return Reshape(format.input_major() ? Transpose(values, {1, 0}) : values, dims);
}

Tensor MatMulPacked(const Tensor& x, const PackedFormat& format, std::span<const Tensor> parts) {
  const Tensor values = Convert(StoredValues(format, Expand(format, parts)), x.dtype());
  return MatMul(x, values, {.transposed = !format.input_major()});
}

}  // namespace sophia::quant
