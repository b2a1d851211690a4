#include "sophia/quant/packed_format.h"

#include <algorithm>
#include <cstring>

#include "sophia/base/error.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::quant {
namespace {

constexpr int kRowsOfByte = 2;

Tensor Wide(const Tensor& x) { return Convert(x, DType::kF32); }

// Every product below is exact in f32 (11 bits of a scale times at most 8), so a compiler that
// fuses it with the sum does not change the value.
Tensor ScaledNibbles(std::span<const Tensor> parts) {
  return Wide(parts[0]) * (Wide(parts[1]) - 8.0);
}
Tensor ScaledAndShiftedNibbles(std::span<const Tensor> parts) {
  return Wide(parts[0]) * Wide(parts[2]) + Wide(parts[1]);
}
Tensor ScaledBytes(std::span<const Tensor> parts) { return Wide(parts[0]) * Wide(parts[1]); }

const std::vector<PackedFormat>& Table() {
  // Layouts: block_q4_0, block_q4_1 and block_q8_0 of
  // https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
  static const std::vector<PackedFormat> kFormats = {
      {"Q4_0",
       32,
       18,
       {{"scales", DType::kF16, 1, 0}, {"quants", DType::kU8, 32, 2, 16}},
       ScaledNibbles},
      {"Q4_1",
       32,
       20,
       {{"scales", DType::kF16, 1, 0},
        {"minima", DType::kF16, 1, 2},
        {"quants", DType::kU8, 32, 4, 16}},
       ScaledAndShiftedNibbles},
      {"Q8_0", 32, 34, {{"scales", DType::kF16, 1, 0}, {"quants", DType::kS8, 32, 2}}, ScaledBytes},
  };
  return kFormats;
}

bool HasNibbles(const PackedFormat& format) {
  return std::ranges::any_of(format.parts,
                             [](const PackedPart& part) { return part.nibble_run > 0; });
}

// The 4-bit elements of a block, one a byte.
void SpreadNibbles(const PackedPart& part, const std::byte* block, std::span<uint8_t> out) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(block + part.offset);
  const auto run = static_cast<size_t>(part.nibble_run);
  for (size_t first = 0; first < out.size(); first += 2 * run, bytes += run) {
    for (size_t i = 0; i < run; ++i) {
      out[first + i] = bytes[i] & 15;
      out[first + run + i] = bytes[i] >> 4;
    }
  }
}

void PackNibbles(const PackedFormat& format, const PackedPart& part, std::span<const std::byte> in,
                 std::byte* out) {
  const auto elements = static_cast<size_t>(part.per_block);
  const auto block_bytes = static_cast<size_t>(format.block_bytes);
  const size_t half = in.size() / 2;
  std::vector<uint8_t> low(elements);
  std::vector<uint8_t> high(elements);
  for (size_t at = 0; at < half; at += block_bytes) {
    SpreadNibbles(part, in.data() + at, low);
    SpreadNibbles(part, in.data() + half + at, high);
    for (size_t i = 0; i < elements; ++i) {
      *out++ = static_cast<std::byte>(low[i] | high[i] << 4);
    }
  }
}

// x: [A, B, C] with rows in A·B; the leading dimension of every part becomes [2, rows / 2].
std::vector<Tensor> Elements(const PackedFormat& format, std::span<const Tensor> parts) {
  if (!HasNibbles(format)) return {parts.begin(), parts.end()};
  std::vector<Tensor> elements;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Dims& dims = parts[i].dims();
    if (format.parts[i].nibble_run == 0) {
      elements.push_back(Reshape(parts[i], {kRowsOfByte, dims[0] / kRowsOfByte, dims[1], dims[2]}));
      continue;
    }
    const Tensor shift = Iota({DType::kU8, {kRowsOfByte, 1, 1, 1}}, 0) * 4.0;
    elements.push_back(And(ShiftRightLogical(ExpandDims(parts[i], 0), shift), 15.0));
  }
  return elements;
}

}  // namespace

std::span<const PackedFormat> PackedFormats() { return Table(); }

const PackedFormat* FindPackedFormat(std::string_view name) {
  const auto found = std::ranges::find(Table(), name, &PackedFormat::name);
  return found == Table().end() ? nullptr : &*found;
}

bool CanPack(const PackedFormat& format, const Dims& dims) {
  return dims.size() == 2 && dims[0] > 0 && dims[1] > 0 && dims[1] % format.block == 0 &&
         (!HasNibbles(format) || dims[0] % kRowsOfByte == 0);
}

Dims PartDims(const PackedFormat& format, size_t part, const Dims& dims) {
  SOPHIA_CHECK(CanPack(format, dims), "{} of sizes {}", format.name, ToString(dims));
  const PackedPart& spec = format.parts[part];
  return {spec.nibble_run > 0 ? dims[0] / kRowsOfByte : dims[0], dims[1] / format.block,
          spec.per_block};
}

void PackPart(const PackedFormat& format, size_t part, const Dims& dims,
              std::span<const std::byte> blocks, std::span<std::byte> out, std::string_view where) {
  if (!CanPack(format, dims)) {
    Fail(where, "expected sizes [rows, in] with in a multiple of {}{} to keep {} packed, got {}",
         format.block, HasNibbles(format) ? " and an even number of rows" : "", format.name,
         ToString(dims));
  }
  const PackedPart& spec = format.parts[part];
  const int64_t count = Product(dims) / format.block;
  if (static_cast<int64_t>(blocks.size()) != count * format.block_bytes) {
    Fail(where, "expected {} bytes of {}, got {}", count * format.block_bytes, format.name,
         blocks.size());
  }
  SOPHIA_CHECK(static_cast<int64_t>(out.size()) ==
               ByteSize(spec.dtype, Product(PartDims(format, part, dims))));
  if (spec.nibble_run > 0) return PackNibbles(format, spec, blocks, out.data());
  const size_t bytes = out.size() / static_cast<size_t>(count);
  const std::byte* from = blocks.data() + spec.offset;
  for (std::byte* to = out.data(); to != out.data() + out.size();
       to += bytes, from += format.block_bytes) {
    std::memcpy(to, from, bytes);
  }
}

Tensor Unpack(const PackedFormat& format, std::span<const Tensor> parts, DType dtype) {
  const Tensor values = format.values(Elements(format, parts));
  const int64_t in = values.dim(-2) * format.block;
  return Convert(Reshape(values, {-1, in}), dtype);
}

Tensor UnpackRows(const PackedFormat& format, std::span<const Tensor> parts, const Tensor& ids,
                  DType dtype) {
  std::vector<Tensor> elements;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (format.parts[i].nibble_run == 0) {
      elements.push_back(Take(parts[i], ids, 0));
      continue;
    }
    const auto rows = static_cast<double>(parts[i].dim(0));
    const Tensor bytes = Take(parts[i], Rem(ids, rows), 0);
    const Tensor shift = ExpandDims(ExpandDims(Convert((ids / rows) * 4.0, DType::kU8), -1), -1);
    elements.push_back(And(ShiftRightLogical(bytes, shift), 15.0));
  }
  const Tensor values = format.values(elements);
  Dims dims = ids.dims();
  dims.push_back(values.dim(-2) * format.block);
  return Convert(Reshape(values, dims), dtype);
}

}  // namespace sophia::quant
