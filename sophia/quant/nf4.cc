#include "sophia/quant/nf4.h"

#include <array>
#include <vector>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"

namespace sophia::quant {
namespace {

constexpr std::array<float, 16> kNf4 = {
    -1.0F,         -0.6961928F, -0.52507305F, -0.3949175F, -0.28444138F, -0.18477343F,
    -0.091050036F, 0.0F,        0.0795803F,   0.1609302F,  0.2461123F,   0.33791524F,
    0.44070983F,   0.562617F,   0.72295684F,  1.0F,
};

// Zero, then for i in 0 ... 6 the middles of 2^i equal parts of [0.1, 1], times 10^(i - 6), as
// torch computes them in f32.
constexpr std::array<float, 128> kDynamic = {
    0.0F,          5.5000004e-07F, 3.2500002e-06F, 7.75e-06F,      2.1249998e-05F, 4.375e-05F,
    6.625e-05F,    8.875e-05F,     1.5625001e-04F, 2.6875004e-04F, 3.8125002e-04F, 4.9375003e-04F,
    6.062501e-04F, 7.1875006e-04F, 8.3125e-04F,    9.437501e-04F,  0.0012812499F,  0.00184375F,
    0.00240625F,   0.00296875F,    0.0035312497F,  0.00409375F,    0.0046562497F,  0.0052187503F,
    0.00578125F,   0.00634375F,    0.00690625F,    0.00746875F,    0.00803125F,    0.00859375F,
    0.009156249F,  0.00971875F,    0.01140625F,    0.01421875F,    0.01703125F,    0.019843752F,
    0.02265625F,   0.02546875F,    0.028281251F,   0.03109375F,    0.03390625F,    0.036718752F,
    0.03953125F,   0.042343747F,   0.04515625F,    0.04796875F,    0.05078125F,    0.05359375F,
    0.05640625F,   0.059218753F,   0.06203125F,    0.06484375F,    0.067656256F,   0.070468746F,
    0.07328125F,   0.07609375F,    0.07890625F,    0.08171876F,    0.08453125F,    0.08734375F,
    0.09015625F,   0.092968754F,   0.09578126F,    0.09859375F,    0.107031256F,   0.12109375F,
    0.13515624F,   0.14921875F,    0.16328125F,    0.17734376F,    0.19140625F,    0.20546874F,
    0.21953125F,   0.23359375F,    0.24765624F,    0.26171875F,    0.27578127F,    0.28984374F,
    0.30390626F,   0.31796873F,    0.33203125F,    0.34609374F,    0.36015624F,    0.37421876F,
    0.38828123F,   0.40234375F,    0.41640624F,    0.43046874F,    0.44453126F,    0.45859373F,
    0.47265625F,   0.4867187F,     0.50078124F,    0.5148437F,     0.5289062F,     0.54296875F,
    0.5570313F,    0.5710938F,     0.58515626F,    0.5992187F,     0.61328125F,    0.6273438F,
    0.6414063F,    0.65546876F,    0.6695312F,     0.68359375F,    0.6976563F,     0.7117188F,
    0.72578126F,   0.7398437F,     0.75390625F,    0.7679688F,     0.78203124F,    0.79609376F,
    0.8101562F,    0.82421875F,    0.8382813F,     0.85234374F,    0.86640626F,    0.8804687F,
    0.89453125F,   0.9085938F,     0.92265624F,    0.93671876F,    0.9507812F,     0.96484375F,
    0.9789063F,    0.99296874F,
};
constexpr double kCodeOfZero = 127;

}  // namespace

std::span<const float> Nf4Table() { return kNf4; }
std::span<const float> DynamicTable() { return kDynamic; }

std::array<float, 256> DynamicMap() {
  constexpr auto kZero = static_cast<size_t>(kCodeOfZero);
  std::array<float, 256> map{};
  map.back() = 1;
  for (size_t i = 0; i < kDynamic.size(); ++i) {
    map[kZero - i] = -kDynamic[i];
    map[kZero + i] = kDynamic[i];
  }
  return map;
}

Tensor Lookup(const Tensor& codes, std::span<const float> table) {
  std::vector<Tensor> values;
  for (const float value : table) values.push_back(Scalar(DType::kF32, value));
  for (uint32_t bit = 1; values.size() > 1; bit *= 2) {
    const Tensor is_set = Ne(And(codes, static_cast<double>(bit)), 0.0);
    std::vector<Tensor> chosen;
    for (size_t i = 0; i < values.size(); i += 2) {
      chosen.push_back(Select(is_set, values[i + 1], values[i]));
    }
    values = std::move(chosen);
  }
  return values[0];
}

Tensor ExpandScales(const Tensor& codes, const Tensor& absmax, const Tensor& offset,
                    int64_t count) {
  const Tensor place = Convert(codes, DType::kS32) - kCodeOfZero;
  const Tensor distance = Abs(place);
  const Tensor value =
      Select(Eq(distance, static_cast<double>(kDynamic.size())), 1.0, Lookup(distance, kDynamic));
  const Tensor product = value * ExpandDims(absmax, 1);
  // The sign comes after the product, so that no compiler fuses it with the sum.
  const Tensor scales = Select(Lt(place, 0.0), Neg(product), product);
  return SliceAxis(Reshape(scales, {-1}), 0, 0, count) + offset;
}

}  // namespace sophia::quant
