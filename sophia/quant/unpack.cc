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

// u8 [in / 4, rows] -> [in, rows], two bits each.
Tensor BitPairs(const Tensor& codes) {
  constexpr int64_t kBytes = 32;
  const int64_t rows = codes.dim(1);
  const Tensor bytes = Reshape(codes, {codes.dim(0) / kBytes, 1, kBytes, rows});
  const Tensor shift = Iota({DType::kU8, {1, 4, 1, 1}}, 1) * 2.0;
  return Reshape(And(ShiftRightLogical(bytes, shift), 3.0), {codes.dim(0) * 4, rows});
}

Tensor Decoded(Coding coding, const Tensor& codes) {
  if (coding == Coding::kNf4) return Lookup(codes, Nf4Table());
  const Tensor values = Convert(codes, DType::kF32);
  if (coding == Coding::kInt6) return values - 32.0;
  return coding == Coding::kInt4 ? values - 8.0 : values;
}

// Of two parts, factors f16 [in / super_block, rows] and s8 or u8 [n, rows]: the products, f32
// [n, rows], which are exact.
Tensor Grouped(const Tensor& factors, const Tensor& sub) {
  const int64_t blocks = factors.dim(0);
  const Tensor parts =
      Reshape(Convert(sub, DType::kF32), {blocks, sub.dim(0) / blocks, sub.dim(1)});
  return Reshape(parts * ExpandDims(Convert(factors, DType::kF32), 1), sub.dims());
}

// Each row of [n, rows] as often as makes `count` rows.
Tensor RepeatRows(const Tensor& x, int64_t count) {
  const Dims repeated = {x.dim(0), count / x.dim(0), x.dim(1)};
  return Reshape(BroadcastTo(ExpandDims(x, 1), repeated), {count, x.dim(1)});
}

// f32 values as stored: [in, rows], or [rows, in] when not input-major. With minima, scaled codes
// are exact in f32 (at most 17 bits times 4) or the minimum is zero, so a compiler that fuses the
// product with the sum does not change the value.
Tensor StoredValues(const PackedFormat& format, const PackedTensors& w) {
  if (!format.input_major()) {
    return Decoded(format.coding, w.codes) * Reshape(w.scales, {w.rows, 1});
  }
  Tensor codes = format.has_nibbles() ? Nibbles(w.codes) : w.codes;
  if (w.high_codes.defined()) codes = codes + BitPairs(w.high_codes) * 16.0;
  const Tensor grouped =
      Reshape(Decoded(format.coding, codes), {w.in / format.group, format.group, w.rows});
  Tensor values = grouped * ExpandDims(w.scales, 1);
  if (w.minima.defined()) values = values + ExpandDims(w.minima, 1);
  return Reshape(values, {w.in, w.rows});
}

}  // namespace

PackedTensors Expand(const PackedFormat& format, std::span<const Tensor> parts,
                     const EqualPart& rows) {
  SOPHIA_CHECK(parts.size() == format.parts.size(), "{} parts of {}", parts.size(), format.name);
  const auto find = [&](PartKind kind) { return FindPart(format, parts, kind); };
  PackedTensors w{.codes = *find(PartKind::kCodes)};
  w.rows = w.codes.dim(format.input_major() ? 1 : 0);
  w.in = w.codes.dim(format.input_major() ? 0 : 1) * (format.has_nibbles() ? 2 : 1);
  const int64_t groups = format.input_major() ? w.in / format.group : 1;
  if (const Tensor* high = find(PartKind::kHighCodes)) w.high_codes = *high;
  if (const Tensor* codes = find(PartKind::kScaleCodes)) {
    const Tensor scales = ExpandScales(*codes, *find(PartKind::kScaleAbsmax),
                                       *find(PartKind::kScaleOffset), w.rows * groups);
    w.scales = Transpose(Reshape(scales, {w.rows, groups}), {1, 0});
  } else if (const Tensor* sub_scales = find(PartKind::kSubScales)) {
    w.scales = Grouped(*find(PartKind::kSuperScales), *sub_scales);
  } else {
    w.scales = Reshape(Convert(*find(PartKind::kScales), DType::kF32), {groups, w.rows});
  }
  if (const Tensor* minima = find(PartKind::kMinima)) {
    w.minima = Convert(*minima, DType::kF32);
  } else if (const Tensor* sub_minima = find(PartKind::kSubMinima)) {
    w.minima = RepeatRows(Neg(Grouped(*find(PartKind::kSuperMinima), *sub_minima)), groups);
  }
  w.rows /= rows.count;
  w.codes = TakePart(w.codes, format.input_major() ? 1 : 0, rows);
  for (Tensor* others : {&w.high_codes, &w.scales, &w.minima}) {
    if (others->defined()) *others = TakePart(*others, 1, rows);
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
  if (w.high_codes.defined()) w.high_codes = Take(w.high_codes, flat, 1);
  w.scales = Take(w.scales, flat, 1);
  if (w.minima.defined()) w.minima = Take(w.minima, flat, 1);
  const Tensor values = Convert(StoredValues(format, w), dtype);
  Dims dims = ids.dims();
  dims.push_back(w.in);
  return Reshape(format.input_major() ? Transpose(values, {1, 0}) : values, dims);
}

Tensor MatMulPacked(const Tensor& x, const PackedFormat& format, std::span<const Tensor> parts,
                    const EqualPart& rows) {
  const Tensor values = Convert(StoredValues(format, Expand(format, parts, rows)), x.dtype());
  return MatMul(x, values, {.transposed = !format.input_major()});
}

}  // namespace sophia::quant
