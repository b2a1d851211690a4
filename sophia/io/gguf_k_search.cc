#include "sophia/io/gguf_k_search.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace sophia::io {
namespace {

constexpr int kWidths = 10;  // tried on either side of the plain step width
constexpr float kWidthStep = 0.1f;

std::vector<float> Weights(std::span<const float> x, bool centred) {
  double squares = 0;
  for (const float value : x) squares += static_cast<double>(value) * value;
  const auto spread = static_cast<float>(std::sqrt(squares / static_cast<double>(x.size())));
  std::vector<float> weights;
  for (const float value : x) {
    weights.push_back(centred ? value * value : spread + std::fabs(value));
  }
  return weights;
}

float Nearest(float value, float low, float high) {
  return std::clamp(std::nearbyint(value), low, high);
}

// Sums over the elements, weighted.
struct Moments {
  double w = 0, q = 0, qq = 0, x = 0, qx = 0;
};

double AffineError(std::span<const float> x, std::span<const float> weights, const AffineFit& fit,
                   float levels) {
  double error = 0;
  const float inverse = fit.scale > 0 ? 1 / fit.scale : 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const float q = Nearest((x[i] + fit.minimum) * inverse, 0, levels);
    const double miss = static_cast<double>(fit.scale) * q - fit.minimum - x[i];
    error += weights[i] * miss * miss;
  }
  return error;
}

// The least-squares scale and minimum for the integers that `start` gives.
AffineFit Refine(std::span<const float> x, std::span<const float> weights, const AffineFit& start,
                 float levels) {
  Moments m;
  for (size_t i = 0; i < x.size(); ++i) {
    const double q = Nearest((x[i] + start.minimum) / start.scale, 0, levels);
    m.w += weights[i];
    m.q += weights[i] * q;
    m.qq += weights[i] * q * q;
    m.x += static_cast<double>(weights[i]) * x[i];
    m.qx += weights[i] * q * x[i];
  }
  const double determinant = m.w * m.qq - m.q * m.q;
  if (determinant <= 0) return start;
  const double scale = (m.w * m.qx - m.q * m.x) / determinant;
  const double minimum = (m.q * m.qx - m.qq * m.x) / determinant;
  if (scale <= 0) return start;
  if (minimum >= 0) return {static_cast<float>(scale), static_cast<float>(minimum)};
  return {static_cast<float>(m.qq > 0 ? m.qx / m.qq : start.scale), 0};
}

}  // namespace

AffineFit FitAffine(std::span<const float> x, int levels) {
  const auto [low, high] = std::ranges::minmax(x);
  const float minimum = std::max(0.0f, -low);
  const float range = high + minimum;
  if (range <= 0) return {0, minimum};
  const auto top = static_cast<float>(levels);
  const std::vector<float> weights = Weights(x, false);
  AffineFit best{range / top, minimum};
  double least = AffineError(x, weights, best, top);
  for (int width = -kWidths; width <= kWidths; ++width) {
    const AffineFit start{range / (top + kWidthStep * static_cast<float>(width)), minimum};
    const AffineFit fit = Refine(x, weights, start, top);
    const double error = AffineError(x, weights, fit, top);
    if (error < least && fit.scale > 0) {
      least = error;
      best = fit;
    }
  }
  return best;
}

float FitScale(std::span<const float> x, int levels) {
  const float extreme =
      *std::ranges::max_element(x, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  if (extreme == 0) return 0;
  const auto top = static_cast<float>(levels);
  const std::vector<float> weights = Weights(x, true);
  float best = -extreme / top;
  double least = -1;
  for (int width = -kWidths; width <= kWidths; ++width) {
    const float inverse = -(top + kWidthStep * static_cast<float>(width)) / extreme;
    double qx = 0;
    double qq = 0;
    double xx = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double q = Nearest(x[i] * inverse, -top, top - 1);
      qx += weights[i] * q * x[i];
      qq += weights[i] * q * q;
      xx += static_cast<double>(weights[i]) * x[i] * x[i];
    }
    if (qq <= 0) continue;
    const double error = xx - qx * qx / qq;  // of the least-squares scale for these integers
    if (least < 0 || error < least) {
      least = error;
      best = static_cast<float>(qx / qq);
    }
  }
  return best;
}

}  // namespace sophia::io
