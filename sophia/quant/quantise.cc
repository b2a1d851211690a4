#include "sophia/quant/quantise.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "sophia/base/error.h"
#include "sophia/base/float_bits.h"
#include "sophia/quant/nf4.h"
#include "sophia/quant/store.h"

namespace sophia::quant {
namespace {

constexpr float kSmallest = 1e-38F;  // absmax of a block of zeros

float AbsMax(std::span<const float> values) {
  float max = 0;
  for (const float value : values) max = std::max(max, std::fabs(value));
  return max;
}

// value / scale to nearest even; zero for a scale of zero.
float Rounded(float value, float scale, float low, float high) {
  return scale == 0 ? 0.0F : std::clamp(std::nearbyint(value / scale), low, high);
}

// The part's array as elements of T.
template <typename T>
std::span<T> ArrayOf(const PackedFormat& format, PartBytes out, PartKind kind) {
  for (size_t i = 0; i < out.size(); ++i) {
    if (format.parts[i].kind != kind) continue;
    return {reinterpret_cast<T*>(out[i].data()), out[i].size() / sizeof(T)};
  }
  SOPHIA_CHECK(false, "{} lacks a part", format.name);
}

void QuantiseInt8(const PackedFormat& format, const Dims& dims, std::span<const float> values,
                  PartBytes out) {
  const auto codes = ArrayOf<int8_t>(format, out, PartKind::kCodes);
  const auto scales = ArrayOf<float>(format, out, PartKind::kScales);
  const auto in = static_cast<size_t>(dims[1]);
  for (size_t row = 0; row < scales.size(); ++row) {
    const std::span<const float> from = values.subspan(row * in, in);
    scales[row] = AbsMax(from) / 127.0F;
    for (size_t i = 0; i < in; ++i) {
      codes[row * in + i] = static_cast<int8_t>(Rounded(from[i], scales[row], -127, 127));
    }
  }
}

void QuantiseInt4(const PackedFormat& format, const Dims& dims, std::span<const float> values,
                  PartBytes out) {
  const auto group = static_cast<size_t>(format.group);
  std::vector<uint8_t> codes(values.size());
  std::vector<uint16_t> scales(values.size() / group);
  for (size_t i = 0; i < scales.size(); ++i) {
    const std::span<const float> from = values.subspan(i * group, group);
    scales[i] = FloatToBf16(AbsMax(from) / 7.0F);
    const float scale = Bf16ToFloat(scales[i]);
    for (size_t k = 0; k < group; ++k) {
      codes[i * group + k] = static_cast<uint8_t>(Rounded(from[k], scale, -8, 7) + 8);
    }
  }
  StoreCodes(format, dims, codes, out[0]);
  StoreTransposed(dims[0], dims[1] / format.group, scales.data(),
                  ArrayOf<uint16_t>(format, out, PartKind::kScales).data());
}

// Codes of the nearest values of the NF4 table; the lower one halfway between two.
std::vector<float> QuantiseNf4Codes(std::span<const float> values, std::span<uint8_t> codes) {
  std::array<float, 15> middles{};
  for (size_t i = 0; i < middles.size(); ++i) {
    middles[i] = (Nf4Table()[i] + Nf4Table()[i + 1]) / 2;
  }
  constexpr auto kGroup = static_cast<size_t>(kNf4Group);
  std::vector<float> absmax(values.size() / kGroup);
  for (size_t i = 0; i < absmax.size(); ++i) {
    const std::span<const float> from = values.subspan(i * kGroup, kGroup);
    absmax[i] = AbsMax(from);
    const float inverse = 1.0F / std::max(absmax[i], kSmallest);
    for (size_t k = 0; k < kGroup; ++k) {
      const float unit = std::clamp(from[k] * inverse, -1.0F, 1.0F);
      int code = 0;
      for (const float middle : middles) code += unit > middle ? 1 : 0;
      codes[i * kGroup + k] = static_cast<uint8_t>(code);
    }
  }
  return absmax;
}

constexpr float kLastUnit = 65535;  // bitsandbytes rounds to this many steps of [-1, 1] first

// The code of the dynamic map for each step.
std::vector<uint8_t> DynamicCodes() {
  const std::array<float, 256> map = DynamicMap();
  std::vector<uint8_t> codes;
  size_t code = 0;
  for (float step = 0; step <= kLastUnit; ++step) {
    const float unit = -1.0F + 2.0F * step / kLastUnit;
    while (code < 255 && 0.5F * (map[code] + map[code + 1]) < unit) ++code;
    codes.push_back(static_cast<uint8_t>(code));
  }
  return codes;
}

void QuantiseScales(const PackedFormat& format, std::span<float> scales, PartBytes out) {
  static const std::vector<uint8_t> kCodes = DynamicCodes();
  const auto codes = ArrayOf<uint8_t>(format, out, PartKind::kScaleCodes);
  const auto absmax = ArrayOf<float>(format, out, PartKind::kScaleAbsmax);
  double sum = 0;
  for (const float scale : scales) sum += scale;
  const float offset = static_cast<float>(sum) / static_cast<float>(scales.size());
  ArrayOf<float>(format, out, PartKind::kScaleOffset)[0] = offset;
  for (float& scale : scales) scale -= offset;
  std::ranges::fill(codes, uint8_t{0});
  constexpr auto kGroup = static_cast<size_t>(kScaleGroup);
  for (size_t i = 0; i < absmax.size(); ++i) {
    const std::span<const float> from =
        scales.subspan(i * kGroup, std::min(kGroup, scales.size() - i * kGroup));
    absmax[i] = AbsMax(from);
    if (absmax[i] == 0) continue;
    const float inverse = 1.0F / absmax[i];
    for (size_t k = 0; k < from.size(); ++k) {
      const float unit = std::clamp(from[k] * inverse, -1.0F, 1.0F);
      const float step = (unit + 1.0F) * 0.5F * kLastUnit + 0.5F;
      codes[i * kGroup + k] = kCodes[static_cast<size_t>(step)];
    }
  }
}

void QuantiseNf4(const PackedFormat& format, const Dims& dims, std::span<const float> values,
                 PartBytes out) {
  std::vector<uint8_t> codes(values.size());
  std::vector<float> scales = QuantiseNf4Codes(values, codes);
  StoreCodes(format, dims, codes, out[0]);
  QuantiseScales(format, scales, out);
}

}  // namespace

void Quantise(const PackedFormat& format, const Dims& dims, std::span<const float> values,
              PartBytes out, std::string_view where) {
  SOPHIA_CHECK(format.is_quantised && out.size() == format.parts.size(), "quantising to {}",
               format.name);
  CheckCanPack(format, dims, where);
  SOPHIA_CHECK(static_cast<int64_t>(values.size()) == Product(dims));
  const auto bad = std::ranges::find_if(values, [](float value) { return !std::isfinite(value); });
  if (bad != values.end()) {
    Fail(where, "expected finite values to quantise, got {} at element {}", *bad,
         bad - values.begin());
  }
  switch (format.coding) {
    case Coding::kInt8:
      return QuantiseInt8(format, dims, values, out);
    case Coding::kInt4:
      return QuantiseInt4(format, dims, values, out);
    case Coding::kNf4:
      return QuantiseNf4(format, dims, values, out);
    case Coding::kUint4:
    case Coding::kInt6:
      break;
  }
  SOPHIA_CHECK(false, "{} is not made on load", format.name);
}

}  // namespace sophia::quant
