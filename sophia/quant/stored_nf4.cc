#include "sophia/quant/stored_nf4.h"

#include <algorithm>
#include <cstring>

#include "sophia/base/error.h"
#include "sophia/quant/nf4.h"
#include "sophia/quant/store.h"

namespace sophia::quant {
namespace {

constexpr std::string_view kPlain = "nf4_plain";

uint8_t CodeOf(const StoredNf4& stored, size_t i) {
  const auto pair = std::to_integer<uint8_t>(stored.codes[i / 2]);
  return i % 2 == 0 ? pair >> 4 : pair & 15;
}

std::vector<float> ScalesOf(const StoredNf4& stored) {
  if (stored.nested_absmax.empty()) {
    std::vector<float> scales(stored.absmax.size() / sizeof(float));
    std::memcpy(scales.data(), stored.absmax.data(), stored.absmax.size());
    return scales;
  }
  std::vector<float> scales(stored.absmax.size());
  for (size_t i = 0; i < scales.size(); ++i) {
    const float value = stored.nested_map[std::to_integer<size_t>(stored.absmax[i])];
    scales[i] = value * stored.nested_absmax[i / kScaleGroup];
  }
  for (float& scale : scales) scale += stored.nested_offset;
  return scales;
}

template <typename T>
void Put(std::span<const T> values, std::span<std::byte> out) {
  SOPHIA_CHECK(values.size_bytes() <= out.size());
  std::ranges::copy(std::as_bytes(values), out.begin());
}

}  // namespace

const PackedFormat& StoredNf4::Format() const {
  const bool is_known = !nested_absmax.empty() && std::ranges::equal(nested_map, DynamicMap());
  return *FindPackedFormat(is_known ? "nf4" : kPlain);
}

void PackNf4(const StoredNf4& stored, const PackedFormat& format, const Dims& dims, PartBytes out) {
  std::vector<uint8_t> codes(static_cast<size_t>(Product(dims)));
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = CodeOf(stored, i);
  StoreCodes(format, dims, codes, out[0]);
  if (format.name == kPlain) {
    const std::vector<float> scales = ScalesOf(stored);
    StoreTransposed(dims[0], dims[1] / kNf4Group, scales.data(),
                    reinterpret_cast<float*>(out[1].data()));
    return;
  }
  SOPHIA_CHECK(&format == &stored.Format(), "nested NF4 as {}", format.name);
  std::ranges::fill(out[1], std::byte{0});
  Put(stored.absmax, out[1]);
  Put(std::span(stored.nested_absmax), out[2]);
  Put(std::span(&stored.nested_offset, 1), out[3]);
}

void DequantiseNf4(const StoredNf4& stored, std::span<float> out) {
  const std::vector<float> scales = ScalesOf(stored);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = Nf4Table()[CodeOf(stored, i)] * scales[i / kNf4Group];
  }
}

}  // namespace sophia::quant
