// Checkpoints and remat policies lower the memory that the compiler reserves.
#include <gtest/gtest.h>

#include <optional>

#include "sophia/autodiff/autodiff.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/runtime/program.h"

namespace sophia {
namespace {

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;

constexpr int64_t kRows = 64;
constexpr int64_t kModel = 32;
constexpr int64_t kHidden = 256;
constexpr int64_t kLayers = 16;
constexpr int64_t kWide = kRows * kHidden * 4;  // bytes of one hidden value

// Several values of size kWide, of which the gradient needs most.
Tensor Layer(const Tensor& x, const Tensor& up, const Tensor& down) {
  const Tensor hidden = MatMul(x, up);
  return x + MatMul(Sin(Exp(CheckpointName(hidden, "hidden")) * Tanh(hidden)), down);
}

int64_t TempBytes(const std::function<Tensor(Tensor, Tensor, Tensor)>& network) {
  Graph graph;
  const Tensor x = graph.AddInput({DType::kF32, {kRows, kModel}}, {});
  const Tensor up = graph.AddInput({DType::kF32, {kModel, kHidden}}, {});
  const Tensor down = graph.AddInput({DType::kF32, {kHidden, kModel}}, {});
  const Tracing tracing(graph);
  const ValueAndGradResult result =
      ValueAndGrad([&](In p) -> Loss { return {Sum(network(p[0], up, down))}; }, {x});
  graph.AddOutput(result.value, {});
  graph.AddOutput(result.grads[0], {});
  return Program::Compile(pjrt::SharedCpuClient(), graph)
      .executable()
      .executable()
      .MemoryStats()
      .temp;
}

int64_t Unrolled(const std::optional<Remat>& remat) {
  return TempBytes([&](const Tensor& x, const Tensor& up, const Tensor& down) {
    const TensorFunction layer = [](In p) { return Out{Layer(p[0], p[1], p[2])}; };
    Tensor y = x;
    for (int64_t i = 0; i < kLayers; ++i) {
      y = remat ? Checkpoint(layer, {y, up, down}, *remat)[0] : Layer(y, up, down);
    }
    return y;
  });
}

int64_t Scanned(const Remat& remat) {
  return TempBytes([&](const Tensor& x, const Tensor& up, const Tensor& down) {
    const ScanBody body = [&](In carry, In) -> ScanStep { return {{Layer(carry[0], up, down)}}; };
    return Scan(body, {x}, {}, {.length = kLayers, .remat = remat}).carry[0];
  });
}

TEST(MemoryTest, CheckpointsOfAChainKeepNoHiddenValues) {
  const int64_t everything = Unrolled(std::nullopt);
  const int64_t nothing = Unrolled(Remat::Nothing());
  EXPECT_GT(everything, kLayers * kWide);
  EXPECT_LT(nothing, 8 * kWide);
  EXPECT_LT(4 * nothing, everything);
}

TEST(MemoryTest, ScanPoliciesDecideWhatIsStacked) {
  const int64_t everything = Scanned(Remat::Everything());
  const int64_t named = Scanned(Remat::Named({"hidden"}));
  const int64_t nothing = Scanned(Remat::Nothing());
  EXPECT_GT(everything, 3 * kLayers * kWide);
  EXPECT_GT(named, kLayers * kWide);
  EXPECT_LT(named, 2 * kLayers * kWide);
  EXPECT_LT(nothing, 8 * kWide);
}

}  // namespace
}  // namespace sophia
