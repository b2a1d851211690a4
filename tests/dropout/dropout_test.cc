// nn::Dropout on the CPU: how much it drops, what its mask depends on, and that the reverse pass
// sees the mask of the forward pass.
#include "sophia/autodiff/autodiff.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/nn/layer_stack.h"
#include "sophia/nn/layers.h"
#include "sophia/nn/tokenwise.h"
#include "tests/dropout/masks.h"

namespace sophia::nn {
namespace {

const Shape kShape = {DType::kF32, {64, 256}};

// Of ones: zero where dropped, else 1 / (1 - rate).
std::vector<float> Mask(uint64_t seed, double rate = 0.5, size_t place = 3,
                        const kernels::KernelTarget& target = {}) {
  return RunWithDropout(seed, [&](ParamTable& table) {
    return std::vector{Dropout(table, Full(kShape, 1), rate, place, target)};
  })[0];
}

TEST(DropoutTest, KeepsItsShareAndScalesIt) {
  for (const double rate : {0.05, 0.5, 0.9}) {
    SCOPED_TRACE(rate);
    const std::vector<float> mask = Mask(7, rate);
    ExpectKept(mask, 1 - rate);
    const auto scale = static_cast<float>(1 / (1 - rate));
    for (const float value : mask) ASSERT_FLOAT_EQ(value, value == 0 ? 0 : scale);
  }
}

TEST(DropoutTest, FavoursNoRowAndNoColumn) {
  const std::vector<float> mask = Mask(7);
  const auto columns = static_cast<size_t>(kShape.dims[1]);
  for (size_t row = 0; row < mask.size() / columns; ++row) {
    const auto begin = mask.begin() + static_cast<ptrdiff_t>(row * columns);
    ExpectKept({begin, begin + static_cast<ptrdiff_t>(columns)}, 0.5);
  }
  for (size_t column = 0; column < columns; ++column) {
    std::vector<float> values;
    for (size_t i = column; i < mask.size(); i += columns) values.push_back(mask[i]);
    ExpectKept(values, 0.5);
  }
}

TEST(DropoutTest, MaskDependsOnSeedAndPlaceAlone) {
  const std::vector<float> mask = Mask(7);
  EXPECT_EQ(Mask(7), mask);
  ExpectIndependent(Mask(8), mask);
  ExpectIndependent(Mask(uint64_t{7} << 32), mask);
  ExpectIndependent(Mask(7, 0.5, 4), mask);
}

TEST(DropoutTest, KernelsDropTheSame) {
  EXPECT_EQ(Mask(7, 0.3, 3, {.mode = pallas::Mode::kInterpret}), Mask(7, 0.3, 3));
}

TEST(DropoutTest, WithoutSeedOrRateItIsTheIdentity) {
  Graph graph;
  const Tensor x = graph.AddInput(kShape, {.name = "x"});
  const Tensor seed = graph.AddInput({DType::kU64, {}}, {.name = "seed"});
  const Tracing tracing(graph);
  ParamTable table;
  EXPECT_EQ(Dropout(table, x, 0.5, 0), x);
  table.set_dropout_seed(seed);
  EXPECT_EQ(Dropout(table, x, 0, 0), x);
  EXPECT_NE(Dropout(table, x, 0.5, 0), x);
}

TEST(DropoutTest, LayersOfAStackHaveMasksOfTheirOwn) {
  constexpr int64_t kLayers = 3;
  const auto stacked = RunWithDropout(7, [](ParamTable& table) {
    const ParamPolicy policy(DType::kF32);
    LayerStack stack(ParamScope(&table, &policy) / "layers", kLayers);
    const RmsNorm norm(stack.scope() / "norm", 1, 1e-6);
    stack.Close();
    table.Bind({Full({DType::kF32, {kLayers, 1}}, 1)});
    const auto body = [&](std::span<const Tensor>, std::span<const Tensor>, const Tensor&) {
      return LayerStack::Step{{}, {Dropout(table, Full(kShape, 1), 0.5, 3)}};
    };
    return stack.Run(body, {}).ys;
  })[0];
  const auto masks = Parts(stacked, kLayers);
  ASSERT_EQ(masks.size(), 3u);
  EXPECT_EQ(masks[0], Mask(7));
  ExpectIndependent(masks[0], masks[1]);
  ExpectIndependent(masks[0], masks[2]);
  ExpectIndependent(masks[1], masks[2]);
}

TEST(DropoutTest, TilesHaveMasksOfTheirOwn) {
  constexpr int64_t kTiles = 3;
  const auto results = RunWithDropout(7, [](ParamTable& table) {
    ParamPolicy policy(DType::kF32);
    policy.set_activations({.tile = kShape.dims[0]});
    const Tokenwise tokenwise(ParamScope(&table, &policy));
    const auto dropped = [&](std::span<const Tensor> in) -> std::vector<Tensor> {
      return {Dropout(table, in[0], 0.5, 3)};
    };
    const Tensor ones = Full({DType::kF32, {1, kTiles * kShape.dims[0], kShape.dims[1]}}, 1);
    const ValueAndGradResult result = ValueAndGrad(
        [&](std::span<const Tensor> p) -> Loss {
          const Tensor y = tokenwise(dropped, {p[0]})[0];
          return {Sum(y), {y}};
        },
        {ones});
    return std::vector{result.aux[0], result.grads[0]};
  });
  EXPECT_EQ(results[1], results[0]);
  const auto masks = Parts(results[0], kTiles);
  EXPECT_EQ(masks[0], Mask(7));
  ExpectIndependent(masks[0], masks[1]);
  ExpectIndependent(masks[0], masks[2]);
  ExpectIndependent(masks[1], masks[2]);
}

class DropoutGradientTest : public ::testing::TestWithParam<Remat> {};

// d sum(dropout(x) · w) / d x = mask · w, in a scan whose reverse pass keeps or makes the mask
// again.
TEST_P(DropoutGradientTest, UsesTheMaskOfTheForwardPass) {
  constexpr int64_t kLayers = 2;
  const auto results = RunWithDropout(7, [](ParamTable& table) {
    const Shape stacked = {DType::kF32, {kLayers, kShape.dims[0], kShape.dims[1]}};
    const Tensor x = Iota(stacked, 2) + 1.0;
    const Tensor w = Sin(Iota(stacked, 0) + Iota(stacked, 1) + Iota(stacked, 2));
    const Tensor layers = Iota({DType::kS32, {kLayers}}, 0);
    const ScanBody body = [&](std::span<const Tensor> carry, std::span<const Tensor> xs) {
      table.set_layer(xs[2]);
      const Tensor dropped = Dropout(table, xs[0], 0.5, 3);
      return ScanStep{{carry[0] + Sum(dropped * xs[1])}, {dropped}};
    };
    const ValueAndGradResult result = ValueAndGrad(
        [&](std::span<const Tensor> p) -> Loss {
          const ScanResult scan =
              Scan(body, {Scalar(DType::kF32, 0)}, {p[0], w, layers}, {.remat = GetParam()});
          return {scan.carry[0], {scan.ys[0]}};
        },
        {x});
    return std::vector{result.aux[0], result.grads[0], x, w};
  });
  const std::vector<float>& dropped = results[0];
  ExpectKept(dropped, 0.5);
  for (size_t i = 0; i < dropped.size(); ++i) {
    ASSERT_FLOAT_EQ(results[1][i], dropped[i] / results[2][i] * results[3][i]) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, DropoutGradientTest,
                         ::testing::Values(Remat::Everything(), Remat::Nothing(),
                                           Remat::Named({"another"})));

}  // namespace
}  // namespace sophia::nn
