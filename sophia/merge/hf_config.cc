#include "sophia/merge/hf_config.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "sophia/base/error.h"
#include "sophia/models/llama.h"

namespace sophia::merge {
namespace {

constexpr const char* kTied = "tie_word_embeddings";
constexpr const char* kDivisors = "rope_frequency_divisors";
constexpr double kTolerance = 1e-5;  // of a frequency; GGUF keeps divisors in f32

// The scalings of Llama 3.1 and 3.2.
constexpr std::array<double, 2> kLlama3Factors = {8, 32};

bool SameFrequencies(const nn::RopeConfig& a, const nn::RopeConfig& b, int64_t head_dim) {
  const std::vector<float> x = nn::RopeFrequencies(a, head_dim);
  const std::vector<float> y = nn::RopeFrequencies(b, head_dim);
  return std::ranges::equal(
      x, y, [](float p, float q) { return std::fabs(p - q) <= kTolerance * std::fabs(q); });
}

// Divisors of single frequencies as the scaling that makes them.
Json Llama3Scaling(const Json& config, const std::string& where) {
  const auto llama = models::LlamaConfig::FromJson(config, where);
  for (const double factor : kLlama3Factors) {
    nn::RopeConfig rope{
        .theta = llama.rope.theta, .scaling = nn::RopeConfig::Scaling::kLlama3, .factor = factor};
    if (!SameFrequencies(rope, llama.rope, llama.head_dim)) continue;
    return {{"rope_type", "llama3"},
            {"factor", factor},
            {"low_freq_factor", rope.low_freq_factor},
            {"high_freq_factor", rope.high_freq_factor},
            {"original_max_position_embeddings", rope.original_max_positions}};
  }
  Fail(where, "expected rope_freqs of a published Llama 3 scaling (factor 8 or 32), got others");
}

}  // namespace

Json FolderConfig(const MergedModel& model, DType dtype) {
  Json config = model.files().config();
  if (config.contains(kDivisors)) {
    config["rope_scaling"] = Llama3Scaling(config, model.files().config_name());
    config.erase(kDivisors);
  }
  const std::string name = dtype == DType::kBF16  ? "bfloat16"
                           : dtype == DType::kF16 ? "float16"
                                                  : "float32";
  if (model.has_head() && config.contains(kTied)) config[kTied] = false;
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = name;
  return config;
}

}  // namespace sophia::merge
