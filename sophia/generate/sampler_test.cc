#include "sophia/generate/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <ostream>

#include "sophia/base/error_for_test.h"

namespace sophia::generate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Filters by their definitions: each turns logits into -infinity, as published generation code
// does, then a softmax.
std::vector<double> ReferenceDistribution(std::vector<double> logits, const SamplingOptions& o) {
  const auto softmax = [](const std::vector<double>& x) {
    std::vector<double> p;
    for (const double value : x) p.push_back(std::exp(value));
    const double total = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& value : p) value /= total;
    return p;
  };
  for (double& value : logits) value /= o.temperature;
  if (o.top_k > 0) {
    std::vector<double> sorted = logits;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const double last = sorted[std::min(sorted.size(), static_cast<size_t>(o.top_k)) - 1];
    for (double& value : logits) value = value < last ? -kInfinity : value;
  }
  if (o.top_p < 1) {
    std::vector<size_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return logits[a] > logits[b]; });
    const std::vector<double> p = softmax(logits);
    double before = 0;
    for (const size_t id : order) {
      if (before >= o.top_p) logits[id] = -kInfinity;
      before += p[id];
    }
  }
  return softmax(logits);
}

struct Case {
  const char* name;
  SamplingOptions options;
  std::vector<float> logits = {0.5f, 2.0f, -1.0f, 2.5f, 0.0f, 1.0f, -3.0f, 1.5f};
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class SamplerDistribution : public ::testing::TestWithParam<Case> {};

TEST_P(SamplerDistribution, EqualsTheReference) {
  const Case& c = GetParam();
  const std::vector<double> expected =
      ReferenceDistribution({c.logits.begin(), c.logits.end()}, c.options);
  Sampler sampler(c.options);
  constexpr int kDraws = 50000;
  std::map<int32_t, int> counts;
  for (int i = 0; i < kDraws; ++i) ++counts[sampler.Next(c.logits)];
  for (size_t id = 0; id < expected.size(); ++id) {
    const double p = expected[id];
    const double got = counts[static_cast<int32_t>(id)] / static_cast<double>(kDraws);
    if (p == 0) {
      EXPECT_EQ(got, 0) << "token " << id;
    } else {
      EXPECT_NEAR(got, p, 5 * std::sqrt(p * (1 - p) / kDraws)) << "token " << id;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Options, SamplerDistribution,
    ::testing::Values(
        Case{"plain", {.temperature = 1}}, Case{"cold", {.temperature = 0.5}},
        Case{"hot", {.temperature = 3}}, Case{"top_k", {.temperature = 1, .top_k = 3}},
        Case{"top_k_of_all", {.temperature = 1, .top_k = 8}},
        Case{"top_k_beyond", {.temperature = 1, .top_k = 100}},
        Case{"top_k_keeps_ties", {.temperature = 1, .top_k = 2}, {1, 3, 2, 2, 0, 2}},
        Case{"top_p", {.temperature = 1, .top_p = 0.7}},
        Case{"top_p_after_temperature", {.temperature = 2, .top_p = 0.7}},
        Case{"top_p_after_top_k", {.temperature = 1, .top_k = 3, .top_p = 0.75}},
        Case{"top_p_splits_ties", {.temperature = 1, .top_p = 0.45}, {1, 1, 1, 1, 1}},
        Case{"tiny_top_p_keeps_one", {.temperature = 1, .top_p = 1e-9}},
        Case{"masked", {.temperature = 1}, {0, -kInfinity, 1, -kInfinity}},
        Case{"masked_in_top_k", {.temperature = 1, .top_k = 3}, {0, -kInfinity, 1, -kInfinity}},
        Case{"one_token", {.temperature = 1, .top_k = 1, .top_p = 0.5}, {-4}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Sampler, TopPReachedExactlyKeepsNoMore) {
  Sampler sampler({.temperature = 1, .top_p = 0.5});
  for (int i = 0; i < 200; ++i) {
    EXPECT_LT(sampler.Next(std::vector<float>{1, 1, 1, 1}), 2);
  }
}

TEST(Sampler, TemperatureZeroTakesTheFirstLargest) {
  Sampler sampler({.temperature = 0, .top_k = 3, .top_p = 0.9});
  EXPECT_EQ(sampler.Next(std::vector<float>{0, 2, -1, 2, 1}), 1);
  EXPECT_EQ(sampler.Next(std::vector<float>{-kInfinity, -5}), 1);
}

// Equal logits need no arithmetic that could differ between machines.
TEST(Sampler, DrawsTheSameTokensEverywhere) {
  const std::vector<float> logits(1000, 0.25f);
  const auto draw = [&](uint64_t seed, uint64_t stream) {
    Sampler sampler({.temperature = 1, .seed = seed}, stream);
    std::vector<int32_t> ids;
    for (int i = 0; i < 6; ++i) ids.push_back(sampler.Next(logits));
    return ids;
  };
  EXPECT_THAT(draw(7, 0), ElementsAre(244, 553, 314, 202, 665, 472));
  EXPECT_EQ(draw(7, 0), draw(7, 0));
  EXPECT_NE(draw(7, 0), draw(8, 0));
  EXPECT_NE(draw(7, 0), draw(7, 1));
  EXPECT_NE(draw(7, 0), draw(7 + (uint64_t{1} << 32), 0));
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  const auto message = [](const SamplingOptions& options) {
    return MessageOf([&] { Sampler sampler(options); });
  };
  EXPECT_EQ(message({.temperature = -1}),
            "[temperature] expected a finite number of at least 0, got -1");
  EXPECT_THAT(message({.temperature = std::nan("")}), HasSubstr("got nan"));
  EXPECT_THAT(message({.temperature = kInfinity}), HasSubstr("got inf"));
  EXPECT_EQ(message({.top_k = -2}), "[top_k] expected at least 0 (0 keeps all), got -2");
  EXPECT_EQ(message({.top_p = 0}), "[top_p] expected above 0 up to 1, got 0");
  EXPECT_THAT(message({.top_p = 1.5}), HasSubstr("got 1.5"));
  EXPECT_THAT(message({.top_p = std::nan("")}), HasSubstr("got nan"));
}

TEST(Sampler, RefusesBrokenLogits) {
  for (const double temperature : {0.0, 1.0}) {
    Sampler sampler({.temperature = temperature});
    const auto message = [&](const std::vector<float>& logits) {
      return MessageOf([&] { sampler.Next(logits); });
    };
    EXPECT_EQ(message({0, std::nanf(""), 1}), "[logits] expected numbers, got nan for token 1");
    EXPECT_THAT(message({0, kInfinity}), HasSubstr("got inf for token 1"));
    EXPECT_THAT(message({-kInfinity, -kInfinity}), HasSubstr("got -inf for token 0"));
  }
}

}  // namespace
}  // namespace sophia::generate
