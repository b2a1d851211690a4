#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace sophia::generate {

// How the next token is drawn. The parts apply in this order, each to what the one before left.
struct SamplingOptions {
  double temperature = 0;  // divides the logits; 0 always takes the most likely token
  int64_t top_k = 0;       // keeps the k most likely tokens and those equal to the last; 0: all
  // Keeps the fewest most likely tokens whose probabilities reach top_p together, at least one:
  // https://arxiv.org/abs/1904.09751.
  double top_p = 1;
  uint64_t seed = 0;

  bool greedy() const { return temperature == 0; }
  // Throws Error for values out of range.
  void Check() const;
};

// Draws tokens of one sequence. Same options, stream and logits, same tokens.
class Sampler {
 public:
  // Sequences that share a seed draw from different streams. Throws Error for options out of range.
  explicit Sampler(const SamplingOptions& options, uint64_t stream = 0);

  // logits: [V]. Of equal logits the lower id counts as more likely. Throws Error for logits that
  // are not a number, and where the largest is not finite.
  int32_t Next(std::span<const float> logits);

 private:
  struct Candidate {
    int32_t id;
    float logit;
    double weight;  // exp((logit - largest) / temperature)
  };

  void KeepTopK();
  void KeepTopP();
  int32_t Draw();

  SamplingOptions options_;
  std::mt19937_64 random_;
  std::vector<Candidate> candidates_;
};

// The id of the first largest logit. Throws Error as Sampler::Next.
int32_t MostLikely(std::span<const float> logits);

}  // namespace sophia::generate
