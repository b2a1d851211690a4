#pragma once

#include <string>
#include <vector>

#include "sophia/kernels/rotary.h"

namespace sophia::nn {

// Rotary position embedding (https://arxiv.org/abs/2104.09864) and the scalings that published
// Llama checkpoints use.
struct RopeConfig {
  enum class Scaling : uint8_t { kNone, kLinear, kLlama3 };
  double theta = 10000;
  Scaling scaling = Scaling::kNone;
  double factor = 1;
  // Llama 3.1: wave lengths between original/high and original/low blend the two regimes.
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  int64_t original_max_positions = 8192;
  // Divisors of each frequency, as GGUF files store them; replaces the scaling when not empty.
  std::vector<float> frequency_divisors = {};
};

// head_dim / 2 angles a position.
std::vector<float> RopeFrequencies(const RopeConfig& config, int64_t head_dim);

// The angles of positions, s32 [B, S], for kernels::Rotary, which rotates the pairs
// (i, i + head_dim / 2).
kernels::RotaryTable MakeRopeTable(const RopeConfig& config, const Tensor& positions,
                                   int64_t head_dim);

}  // namespace sophia::nn
