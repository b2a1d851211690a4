// The computed 8-bit map against bitsandbytes' table and a search for the nearest value.
#include "sophia/kernels/dynamic_map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "sophia/pjrt/test_support.h"
#include "sophia/quant/nf4.h"
#include "tests/pallas/host_tensor.h"

namespace sophia::kernels {
namespace {

using pallas::HostTensor;

// create_dynamic_map of bitsandbytes without signs, from zero to one: in decade i the middles of
// `first`·2^i parts of [0.1, 1], times 10^(i - 6).
std::vector<double> Table(int64_t first) {
  std::vector<double> values = {0};
  for (int decade = 0; decade < 7; ++decade) {
    const auto parts = static_cast<double>(first << decade);
    for (double part = 0; part < parts; ++part) {
      const double low = 0.1 + 0.9 * part / parts;
      const double high = 0.1 + 0.9 * (part + 1) / parts;
      values.push_back(std::pow(10.0, decade - 6) * (low + high) / 2);
    }
  }
  values.push_back(1);
  return values;
}

class DynamicMapTest : public testing::TestWithParam<DynamicMap> {
 protected:
  const DynamicMap& map() const { return GetParam(); }
  int64_t zero() const { return map().first - 1; }
};

TEST_P(DynamicMapTest, HasTheValuesOfTheTable) {
  const std::vector<double> table = Table(map().first);
  EXPECT_EQ(zero() + static_cast<int64_t>(table.size()), map().one() + 1);
  for (size_t i = 0; i < table.size(); ++i) {
    EXPECT_NEAR(map().Value(zero() + static_cast<int64_t>(i)), table[i], 1e-15) << i;
  }
}

TEST(SignedMapTest, EqualsBitsandbytes) {
  const std::span<const float> table = quant::DynamicTable();
  for (size_t i = 0; i < table.size(); ++i) {
    EXPECT_NEAR(kSignedMap.Value(static_cast<int64_t>(i)), table[i], 2e-7 * table[i]) << i;
  }
}

TEST_P(DynamicMapTest, FindsTheNearestAndStaysInItsBound) {
  std::vector<float> draws = {0, 1, 1.0000001F, 1e-30F};
  std::mt19937 random(1);
  std::uniform_real_distribution<double> exponent(-9, 0);
  for (int i = 0; i < 20000; ++i) {
    draws.push_back(static_cast<float>(std::pow(10.0, exponent(random))));
  }
  const auto count = static_cast<int64_t>(draws.size());
  Graph graph;
  {
    const Tracing tracing(graph);
    const Tensor x = pallas::AddHostInput(graph, {DType::kF32, {count}}, "x");
    const Tensor place = NearestPlace(map(), x);
    pallas::AddHostOutput(graph, place, "place");
    pallas::AddHostOutput(graph, ValueAt(map(), place), "value");
  }
  std::vector<HostTensor> inputs(1);
  inputs[0].shape = {DType::kF32, {count}};
  inputs[0].floats = draws;
  const std::vector<HostTensor> results = pallas::RunOnce(pjrt::SharedCpuClient(), graph, inputs);
  const std::vector<double> table = Table(map().first);
  for (size_t i = 0; i < draws.size(); ++i) {
    const double x = draws[i];
    const double value = results[1].floats[i];
    const auto place = static_cast<size_t>(results[0].floats[i] - static_cast<float>(zero()));
    ASSERT_LT(place, table.size());
    EXPECT_NEAR(value, table[place], 2e-7 * value);
    double nearest = 1;
    for (const double entry : table) nearest = std::min(nearest, std::abs(entry - x));
    EXPECT_LE(std::abs(value - x), nearest + 1e-6 * x) << x;
    const double decade = std::clamp(std::floor(std::log10(std::min(x, 1.0))) + 7, 0.0, 6.0);
    const double half = 0.45 * std::pow(10.0, decade - 6) / map().low(static_cast<int>(decade));
    EXPECT_LE(std::abs(value - x), half * (1 + 1e-5)) << x;
  }
}

INSTANTIATE_TEST_SUITE_P(Maps, DynamicMapTest, testing::Values(kSignedMap, kUnsignedMap),
                         [](const auto& info) {
                           return info.param.first == 1 ? "WithSign" : "WithoutSign";
                         });

}  // namespace
}  // namespace sophia::kernels
