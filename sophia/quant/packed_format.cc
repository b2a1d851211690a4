#include "sophia/quant/packed_format.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"
#include "sophia/quant/nf4.h"

namespace sophia::quant {
namespace {

constexpr int64_t kLargestPanel = 64;

constexpr int64_t kMinimaGroup = 32;
constexpr std::string_view kPlainNf4 = "nf4_plain";
constexpr std::string_view kMixture = "Q4_K+Q6_K";

PackedFormat Int4(std::string_view name, int64_t group) {
  return {
      .name = name,
      .coding = Coding::kInt4,
      .group = group,
      .is_quantised = true,
      .parts = {{"codes", PartKind::kCodes, DType::kU8},
                {"scales", PartKind::kScales, DType::kBF16}},
  };
}

// Layouts: ggml's block structures, see io/gguf_layouts.h.
std::vector<PackedFormat> GgufFormats() {
  using enum PartKind;
  return {
      {.name = "Q4_0",
       .coding = Coding::kInt4,
       .group = 32,
       .block_bytes = 18,
       .nibble_run = 16,
       .parts = {{"codes", kCodes, DType::kU8, 2}, {"scales", kScales, DType::kF16, 0}}},
      {.name = "Q4_1",
       .coding = Coding::kUint4,
       .group = 32,
       .block_bytes = 20,
       .nibble_run = 16,
       .parts = {{"codes", kCodes, DType::kU8, 4},
                 {"scales", kScales, DType::kF16, 0},
                 {"minima", kMinima, DType::kF16, 2}}},
      {.name = "Q8_0",
       .coding = Coding::kInt8,
       .group = 32,
       .block_bytes = 34,
       .parts = {{"codes", kCodes, DType::kS8, 2}, {"scales", kScales, DType::kF16, 0}}},
      {.name = "Q4_K",
       .coding = Coding::kUint4,
       .group = 32,
       .super_block = 256,
       .block_bytes = 144,
       .nibble_run = 32,
       .parts = {{"codes", kCodes, DType::kU8, 16},
                 {"sub_scales", kSubScales, DType::kS8, 4},
                 {"sub_minima", kSubMinima, DType::kU8, 4},
                 {"scales", kSuperScales, DType::kF16, 0},
                 {"minima", kSuperMinima, DType::kF16, 2}}},
      {.name = "Q6_K",
       .coding = Coding::kInt6,
       .group = 16,
       .super_block = 256,
       .block_bytes = 210,
       .nibble_run = 64,
       .parts = {{"codes", kCodes, DType::kU8, 0},
                 {"high_codes", kHighCodes, DType::kU8, 128},
                 {"sub_scales", kSubScales, DType::kS8, 192},
                 {"scales", kSuperScales, DType::kF16, 208}}},
      // Layers of either. A code of Q4_K is 32 more, so that the coding takes away nothing.
      {.name = kMixture,
       .coding = Coding::kInt6,
       .group = 16,
       .super_block = 256,
       .parts = {{"codes", kCodes, DType::kU8},
                 {"high_codes", kHighCodes, DType::kU8},
                 {"sub_scales", kSubScales, DType::kS8},
                 {"sub_minima", kSubMinima, DType::kU8},
                 {"scales", kSuperScales, DType::kF16},
                 {"minima", kSuperMinima, DType::kF16}}},
  };
}

std::vector<PackedFormat> OtherFormats() {
  using enum PartKind;
  return {
      {.name = "nf4",
       .coding = Coding::kNf4,
       .group = kNf4Group,
       .is_quantised = true,
       .parts = {{"codes", kCodes, DType::kU8},
                 {"absmax", kScaleCodes, DType::kU8},
                 {"nested_absmax", kScaleAbsmax, DType::kF32},
                 {"nested_offset", kScaleOffset, DType::kF32}}},
      {.name = kPlainNf4,
       .coding = Coding::kNf4,
       .group = kNf4Group,
       .parts = {{"codes", kCodes, DType::kU8}, {"absmax", kScales, DType::kF32}}},
      {.name = "int8",
       .coding = Coding::kInt8,
       .group = 0,
       .is_quantised = true,
       .parts = {{"codes", kCodes, DType::kS8}, {"scales", kScales, DType::kF32}}},
      Int4("int4", 64),
      Int4("int4_g32", 32),
      Int4("int4_g128", 128),
  };
}

const std::vector<PackedFormat>& Table() {
  static const std::vector<PackedFormat> kFormats = [] {
    std::vector<PackedFormat> all = GgufFormats();
    std::ranges::move(OtherFormats(), std::back_inserter(all));
    return all;
  }();
  return kFormats;
}

}  // namespace

std::span<const PackedFormat> PackedFormats() { return Table(); }

const PackedFormat* FindPackedFormat(std::string_view name) {
  const auto found = std::ranges::find(Table(), name, &PackedFormat::name);
  return found == Table().end() ? nullptr : &*found;
}

const PackedFormat* CommonFormat(const PackedFormat& a, const PackedFormat& b) {
  if (&a == &b) return &a;
  if (a.coding == Coding::kNf4 && b.coding == Coding::kNf4) return FindPackedFormat(kPlainNf4);
  return a.super_block > 0 && b.super_block > 0 ? FindPackedFormat(kMixture) : nullptr;
}

int64_t PanelRows(int64_t in) { return std::gcd(in, kLargestPanel); }

bool CanPack(const PackedFormat& format, const Dims& dims) {
  return dims.size() == 2 && dims[0] > 0 && dims[1] > 0 &&
         dims[1] % std::max<int64_t>(format.block(), 1) == 0;
}

void CheckCanPack(const PackedFormat& format, const Dims& dims, std::string_view where) {
  if (CanPack(format, dims)) return;
  std::vector<std::string_view> others;
  for (const PackedFormat& other : Table()) {
    if (other.is_quantised && CanPack(other, dims)) others.push_back(other.name);
  }
  const std::string legal =
      others.empty() ? "" : fmt::format("; {} would", fmt::join(others, ", "));
  if (format.group == 0) {
    Fail(where, "expected sizes [rows, in] for {}, got {}", format.name, ToString(dims));
  }
  Fail(where, "expected sizes [rows, in] with in a multiple of {} for {}, got {}{}", format.block(),
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
    case PartKind::kHighCodes:
      return {in / 4, rows};
    case PartKind::kSubMinima:
      return {in / kMinimaGroup, rows};
    case PartKind::kSuperScales:
    case PartKind::kSuperMinima:
      return {in / format.super_block, rows};
    case PartKind::kScales:
    case PartKind::kMinima:
    case PartKind::kSubScales:
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
