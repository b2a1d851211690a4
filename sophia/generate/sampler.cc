#include "sophia/generate/sampler.h"

#include <algorithm>
#include <cmath>

#include "sophia/base/error.h"

namespace sophia::generate {
namespace {

std::mt19937_64 MakeRandom(uint64_t seed, uint64_t stream) {
  std::seed_seq words{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                      static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
  return std::mt19937_64(words);
}

}  // namespace

void SamplingOptions::Check() const {
  if (!(temperature >= 0) || std::isinf(temperature)) {
    Fail("temperature", "expected a finite number of at least 0, got {}", temperature);
  }
  if (top_k < 0) Fail("top_k", "expected at least 0 (0 keeps all), got {}", top_k);
  if (!(top_p > 0 && top_p <= 1)) Fail("top_p", "expected above 0 up to 1, got {}", top_p);
}

int32_t MostLikely(std::span<const float> logits) {
  SOPHIA_CHECK(!logits.empty());
  size_t best = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) Fail("logits", "expected numbers, got nan for token {}", i);
    if (logits[i] > logits[best]) best = i;
  }
  if (!std::isfinite(logits[best])) {
    Fail("logits", "expected a finite largest logit, got {} for token {}", logits[best], best);
  }
  return static_cast<int32_t>(best);
}

Sampler::Sampler(const SamplingOptions& options, uint64_t stream)
    : options_(options), random_(MakeRandom(options.seed, stream)) {
  options_.Check();
}

int32_t Sampler::Next(std::span<const float> logits) {
  const int32_t best = MostLikely(logits);
  if (options_.greedy()) return best;
  const double largest = logits[static_cast<size_t>(best)];
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates_.push_back({static_cast<int32_t>(i), logits[i],
                           std::exp((logits[i] - largest) / options_.temperature)});
  }
  if (options_.top_k > 0) KeepTopK();
  if (options_.top_p < 1) KeepTopP();
  return Draw();
}

void Sampler::KeepTopK() {
  const auto k = static_cast<size_t>(options_.top_k);
  if (k >= candidates_.size()) return;
  const auto kth = candidates_.begin() + static_cast<std::ptrdiff_t>(k) - 1;
  std::nth_element(candidates_.begin(), kth, candidates_.end(),
                   [](const Candidate& a, const Candidate& b) { return a.logit > b.logit; });
  const float lowest = kth->logit;
  std::erase_if(candidates_, [&](const Candidate& c) { return c.logit < lowest; });
}

void Sampler::KeepTopP() {
  double total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  // A heap, because the kept ones are few next to the vocabulary.
  const auto less_likely = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit < b.logit : a.id > b.id;
  };
  std::make_heap(candidates_.begin(), candidates_.end(), less_likely);
  auto rest = candidates_.end();
  double kept = 0;
  do {
    std::pop_heap(candidates_.begin(), rest--, less_likely);
    kept += rest->weight;
  } while (rest != candidates_.begin() && kept < options_.top_p * total);
  candidates_.erase(candidates_.begin(), rest);
}

int32_t Sampler::Draw() {
  // In the order of ids, so that the draw does not depend on how the library selects.
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  double total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  double left = static_cast<double>(random_() >> 11) * 0x1.0p-53 * total;
  int32_t drawn = -1;
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight == 0) continue;
    drawn = candidate.id;
    left -= candidate.weight;
    if (left < 0) break;
  }
  return drawn;
}

}  // namespace sophia::generate
