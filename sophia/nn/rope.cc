#include "sophia/nn/rope.h"

#include <cmath>
#include <numbers>

#include "sophia/base/error.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::nn {
namespace {

// Llama 3.1: low frequencies are divided by `factor`, high ones kept, those between blended.
double Llama3Frequency(const RopeConfig& config, double frequency) {
  const auto original = static_cast<double>(config.original_max_positions);
  const double wave_length = 2 * std::numbers::pi / frequency;
  if (wave_length < original / config.high_freq_factor) return frequency;
  if (wave_length > original / config.low_freq_factor) return frequency / config.factor;
  const double smooth = (original / wave_length - config.low_freq_factor) /
                        (config.high_freq_factor - config.low_freq_factor);
  return (1 - smooth) * frequency / config.factor + smooth * frequency;
}

}  // namespace

std::vector<float> RopeFrequencies(const RopeConfig& config, int64_t head_dim) {
  std::vector<float> frequencies;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(head_dim);
    double frequency = std::pow(config.theta, -exponent);
    if (!config.frequency_divisors.empty()) {
      frequency /= config.frequency_divisors.at(static_cast<size_t>(i));
    } else if (config.scaling == RopeConfig::Scaling::kLinear) {
      frequency /= config.factor;
    } else if (config.scaling == RopeConfig::Scaling::kLlama3) {
      frequency = Llama3Frequency(config, frequency);
    }
    frequencies.push_back(static_cast<float>(frequency));
  }
  return frequencies;
}

kernels::RotaryTable MakeRopeTable(const RopeConfig& config, const Tensor& positions,
                                   int64_t head_dim) {
  SOPHIA_CHECK(positions.rank() == 2 && head_dim % 2 == 0);
  const Tensor frequencies = ConstantF32({head_dim / 2}, RopeFrequencies(config, head_dim));
  const Tensor at =
      Reshape(Convert(positions, DType::kF32), {positions.dim(0), positions.dim(1), 1, 1});
  const Tensor angles = at * frequencies;
  return kernels::MakeRotaryTable(Cos(angles), Sin(angles), kernels::RotaryLayout::kHalves);
}

}  // namespace sophia::nn
