// Blocks that the mask excludes are not computed: NaNs in them reach nothing, though zero times NaN
// is NaN.
#include <gtest/gtest.h>

#include <cmath>

#include "sophia/kernels/flash_attention.h"
#include "sophia/pjrt/test_support.h"
#include "tests/kernels/run_case.h"

namespace sophia::kernels {
namespace {

using pallas::HostTensor;

constexpr int64_t kLength = 512;
constexpr int64_t kBlock = 128;
constexpr int64_t kWidth = 64;

// Tokens 0 to 255 are segment 1, then comes segment 2, at last padding.
int64_t SegmentOf(int64_t place) { return place < 256 ? 1 : place < 448 ? 2 : 0; }

// What excludes blocks beside the causal mask.
struct Excluding {
  bool has_segments = false;
  int64_t window = 0;
};

// The output and the gradients of q, k and v when tokens that `is_nan` chooses are NaN in `which`
// of the three.
std::vector<HostTensor> Attend(const Excluding& excluding, const std::vector<size_t>& which,
                               const std::function<bool(int64_t place)>& is_nan) {
  const CaseInput x{.shape = {DType::kF32, {1, kLength, 1, kWidth}}, .differentiate = true};
  KernelCase test{.name = "skip",
                  .inputs = {x, x, x, {.shape = {DType::kS32, {1, kLength}}}},
                  .trace = [excluding](std::span<const Tensor> in, const KernelTarget& target) {
                    AttentionMask mask{.scale = 0.125, .window = excluding.window};
                    if (excluding.has_segments) mask.segments = in[3];
                    return std::vector{FlashAttention(in[0], in[1], in[2], target, mask,
                                                      {.q = kBlock, .k = kBlock})};
                  }};
  test.inputs[3].fill = [](int64_t i, std::mt19937&) { return static_cast<double>(SegmentOf(i)); };
  for (const size_t i : which) {
    test.inputs[i].fill = [is_nan](int64_t place, std::mt19937& random) {
      return is_nan(place / kWidth) ? std::nan("") : std::normal_distribution<double>()(random);
    };
  }
  Graph graph;
  {
    const Tracing tracing(graph);
    const CaseResults results =
        TraceCase(test, AddInputs(graph, test), {.mode = pallas::Mode::kInterpret});
    pallas::AddHostOutput(graph, results.outputs[0], "out");
    for (const Tensor& grad : results.grads) pallas::AddHostOutput(graph, grad, "grad");
  }
  return pallas::RunOnce(pjrt::SharedCpuClient(), graph, DrawInputs(test));
}

// The rows of tokens from `first` up to `end`.
void ExpectFinite(const HostTensor& x, int64_t first, int64_t end) {
  for (int64_t i = first * kWidth; i < end * kWidth; ++i) {
    ASSERT_TRUE(std::isfinite(x.floats[static_cast<size_t>(i)])) << "token " << i / kWidth;
  }
}

TEST(FlashSkipTest, QueriesDoNotComputeOnKeysOfEarlierSegments) {
  const auto results =
      Attend({.has_segments = true}, {1, 2}, [](int64_t place) { return SegmentOf(place) == 1; });
  ExpectFinite(results[0], 256, kLength);
  ExpectFinite(results[1], 256, kLength);
  EXPECT_TRUE(std::isnan(results[0].floats[0]));
}

TEST(FlashSkipTest, KeysDoNotComputeOnQueriesOfLaterSegments) {
  const auto results =
      Attend({.has_segments = true}, {0}, [](int64_t place) { return SegmentOf(place) != 1; });
  ExpectFinite(results[2], 0, 256);
  ExpectFinite(results[3], 0, 256);
  EXPECT_TRUE(std::isnan(results[2].floats[256 * kWidth]));
}

TEST(FlashSkipTest, CausalQueriesDoNotComputeOnLaterKeys) {
  const auto results = Attend({}, {1, 2}, [](int64_t place) { return place >= 384; });
  ExpectFinite(results[0], 0, 384);
  ExpectFinite(results[1], 0, 384);
  EXPECT_TRUE(std::isnan(results[0].floats[384 * kWidth]));
}

TEST(FlashSkipTest, CausalKeysDoNotComputeOnEarlierQueries) {
  const auto results = Attend({}, {0}, [](int64_t place) { return place < 128; });
  ExpectFinite(results[2], 128, kLength);
  ExpectFinite(results[3], 128, kLength);
  EXPECT_TRUE(std::isnan(results[2].floats[0]));
}

// The queries of the third block see back to token 157, those of the second to token 29.
TEST(FlashSkipTest, QueriesDoNotComputeOnKeysBeforeTheirWindow) {
  const auto results = Attend({.window = 100}, {1, 2}, [](int64_t place) { return place < 128; });
  ExpectFinite(results[0], 256, kLength);
  ExpectFinite(results[1], 256, kLength);
  EXPECT_TRUE(std::isnan(results[0].floats[128 * kWidth]));
}

TEST(FlashSkipTest, KeysDoNotComputeOnQueriesBeyondTheirWindow) {
  const auto results = Attend({.window = 100}, {0}, [](int64_t place) { return place >= 256; });
  ExpectFinite(results[2], 0, 128);
  ExpectFinite(results[3], 0, 128);
  EXPECT_TRUE(std::isnan(results[2].floats[128 * kWidth]));
}

}  // namespace
}  // namespace sophia::kernels
