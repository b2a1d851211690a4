#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <ostream>
#include <vector>

#include "sophia/nn/param.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/runtime/program.h"

namespace sophia {

inline void PrintTo(const Remat& remat, std::ostream* out) {
  constexpr const char* kNames[] = {"everything", "nothing", "named"};
  *out << kNames[static_cast<size_t>(remat.keep)];
}

// What `trace` returns, computed on the CPU with dropout drawing from `seed`.
inline std::vector<std::vector<float>> RunWithDropout(
    uint64_t seed, const std::function<std::vector<Tensor>(nn::ParamTable& table)>& trace) {
  Graph graph;
  nn::ParamTable table;
  table.set_dropout_seed(graph.AddInput({DType::kU64, {}}, {.name = "seed"}));
  {
    const Tracing tracing(graph);
    for (const Tensor& output : trace(table)) graph.AddOutput(output, {});
  }
  const pjrt::Client& client = pjrt::SharedCpuClient();
  pjrt::Buffer buffer = pjrt::Buffer::FromHost(client.default_device(), {DType::kU64, {}},
                                               std::vector<uint64_t>{seed});
  std::vector<std::vector<float>> results;
  for (const pjrt::Buffer& result :
       Program::Compile(client, graph).Run(std::vector<pjrt::Buffer*>{&buffer})) {
    results.push_back(result.ToVector<float>());
  }
  return results;
}

// Expects `share` of the elements to be other than zero, within five standard deviations.
inline void ExpectKept(const std::vector<float>& mask, double share) {
  const auto count = static_cast<double>(mask.size());
  const auto kept = static_cast<double>(mask.size()) -
                    static_cast<double>(std::count(mask.begin(), mask.end(), 0.0f));
  EXPECT_NEAR(kept / count, share, 5 * std::sqrt(share * (1 - share) / count));
}

// Two masks of rate 1/2 that are drawn apart differ in half of their places, within five standard
// deviations.
inline void ExpectIndependent(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  double differing = 0;
  for (size_t i = 0; i < a.size(); ++i) differing += (a[i] == 0) != (b[i] == 0) ? 1 : 0;
  const auto count = static_cast<double>(a.size());
  EXPECT_NEAR(differing / count, 0.5, 5 * std::sqrt(0.25 / count));
}

// `stacked` cut into `parts` of one size.
inline std::vector<std::vector<float>> Parts(const std::vector<float>& stacked, size_t parts) {
  std::vector<std::vector<float>> result;
  const auto size = static_cast<ptrdiff_t>(stacked.size() / parts);
  for (auto at = stacked.begin(); at != stacked.end(); at += size)
    result.emplace_back(at, at + size);
  return result;
}

}  // namespace sophia
