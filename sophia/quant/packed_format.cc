#include "sophia/quant/packed_format.h"

#include <algorithm>
#include <numeric>

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"
#include "sophia/quant/nf4.h"

namespace sophia::quant {
namespace {

constexpr int64_t kLargestPanel = 64;

PackedFormat Int4(std::string_view name, int64_t group) {
  return {name,
          Coding::kInt4,
          group,
          0,
          {{"codes", PartKind::kCodes, DType::kU8}, {"scales", PartKind::kScales, DType::kBF16}}};
}

const std::vector<PackedFormat>& Table() {
  // Layouts: block_q4_0, block_q4_1 and block_q8_0 of
  // https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
  static const std::vector<PackedFormat> kFormats = {
      {"Q4_0",
       Coding::kInt4,
       32,
       18,
       {{"codes", PartKind::kCodes, DType::kU8, 2}, {"scales", PartKind::kScales, DType::kF16, 0}}},
      {"Q4_1",
       Coding::kUint4,
       32,
       20,
       {{"codes", PartKind::kCodes, DType::kU8, 4},
        {"scales", PartKind::kScales, DType::kF16, 0},
        {"minima", PartKind::kMinima, DType::kF16, 2}}},
      {"Q8_0",
       Coding::kInt8,
       32,
       34,
       {{"codes", PartKind::kCodes, DType::kS8, 2}, {"scales", PartKind::kScales, DType::kF16, 0}}},
      {"nf4",
       Coding::kNf4,
       kNf4Group,
       0,
       {{"codes", PartKind::kCodes, DType::kU8},
        {"absmax", PartKind::kScaleCodes, DType::kU8},
        {"nested_absmax", PartKind::kScaleAbsmax, DType::kF32},
        {"nested_offset", PartKind::kScaleOffset, DType::kF32}}},
      {"int8",
       Coding::kInt8,
       0,
       0,
       {{"codes", PartKind::kCodes, DType::kS8}, {"scales", PartKind::kScales, DType::kF32}}},
      Int4("int4", 64),
      Int4("int4_g32", 32),
      Int4("int4_g128", 128),
  };
  return kFormats;
}

}  // namespace

std::span<const PackedFormat> PackedFormats() { return Table(); }

const PackedFormat* FindPackedFormat(std::string_view name) {
  const auto found = std::ranges::find(Table(), name, &PackedFormat::name);
  return found == Table().end() ? nullptr : &*found;
}

int64_t PanelRows(int64_t in) { return std::gcd(in, kLargestPanel); }

bool CanPack(const PackedFormat& format, const Dims& dims) {
  return dims.size() == 2 && dims[0] > 0 && dims[1] > 0 &&
         dims[1] % std::max<int64_t>(format.group, 1) == 0;
}

void CheckCanPack(const PackedFormat& format, const Dims& dims, std::string_view where) {
  if (CanPack(format, dims)) return;
  std::vector<std::string_view> others;
  for (const PackedFormat& other : Table()) {
    if (other.block_bytes == 0 && CanPack(other, dims)) others.push_back(other.name);
  }
  const std::string legal =
      others.empty() ? "" : fmt::format("; {} would", fmt::join(others, ", "));
  if (format.group == 0) {
    Fail(where, "expected sizes [rows, in] for {}, got {}", format.name, ToString(dims));
  }
  Fail(where, "expected sizes [rows, in] with in a multiple of {} for {}, got {}{}", format.group,
       format.name, ToString(dims), legal.empty() ? "" : legal + " fit");
}

Dims PartDims(const PackedFormat& format, size_t part, const Dims& dims) {
  SOPHIA_CHECK(CanPack(format, dims), "{} of sizes {}", format.name, ToString(dims));
  const int64_t rows = dims[0];
  const int64_t in = dims[1];
  const int64_t groups = format.group > 0 ? in / format.group : 1;
  const int64_t nested = CeilDiv(rows * groups, kScaleGroup);
  switch (format.parts[part].kind) {
    case PartKind::kCodes:
      if (!format.input_major()) return {rows, in};
      return {format.has_nibbles() ? in / 2 : in, rows};
    case PartKind::kScales:
    case PartKind::kMinima:
      if (!format.input_major()) return {rows};
      return {groups, rows};
    case PartKind::kScaleCodes:
      return {nested, kScaleGroup};
    case PartKind::kScaleAbsmax:
      return {nested};
    case PartKind::kScaleOffset:
      return {1};
  }
  return {};
}

}  // namespace sophia::quant
