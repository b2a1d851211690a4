// What the backward pass keeps of the forward pass, and what it computes again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/autodiff/autodiff.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/graph/printer.h"

namespace sophia {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;

constexpr int64_t kLayers = 4;
constexpr int64_t kRows = 2;
constexpr int64_t kModel = 8;
constexpr int64_t kHidden = 16;
constexpr int64_t kRank = 3;

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

class SavedTest : public ::testing::Test {
 protected:
  Tensor Input(const Dims& dims) { return graph_.AddInput({DType::kF32, dims}, {}); }

  // A scan of layers over `stacks` from a carry [kRows, kModel], whose stacks from `trainable` on
  // are differentiated. Its program gives the gradients.
  void Train(const ScanBody& layer, const Out& stacks, size_t trainable, Remat remat = {}) {
    const Tensor x = Input({kRows, kModel});
    const auto split = stacks.begin() + static_cast<int64_t>(trainable);
    const Out grads = ValueAndGrad(
                          [&](In p) -> Loss {
                            Out xs(stacks.begin(), split);
                            xs.insert(xs.end(), p.begin(), p.end());
                            const ScanResult result = Scan(layer, {x}, xs, {.remat = remat});
                            traced_ = result.carry.size() + result.ys.size();
                            return {Sum(result.carry[0])};
                          },
                          {split, stacks.end()})
                          .grads;
    for (const Tensor& grad : grads) graph_.AddOutput(grad, {});
  }

  std::vector<const Node*> Scans() const {
    std::vector<const Node*> scans;
    for (const auto& node : graph_.main().nodes) {
      if (node->op == &kScan) scans.push_back(node.get());
    }
    return scans;
  }

  // Shapes of the results that the forward scan gained and that the program uses.
  std::vector<std::string> Saved() const {
    const LiveSet live = LiveTensors(graph_.main());
    Node* scan = const_cast<Node*>(Scans().at(0));
    std::vector<std::string> shapes;
    for (size_t i = traced_; i < scan->results.size(); ++i) {
      if (live.contains({scan, static_cast<int>(i)})) shapes.push_back(ToString(scan->results[i]));
    }
    return shapes;
  }

  Graph graph_;
  Tracing tracing_{graph_};
  size_t traced_ = 0;
};

TEST_F(SavedTest, FrozenWeightKeepsOnlyWhatPassesThroughIt) {
  const ScanBody layer = [](In carry, In w) -> ScanStep {
    return {{Max(MatMul(carry[0], w[0]), 0.0) + w[1]}};
  };
  Train(layer, {Input({kLayers, kModel, kModel}), Input({kLayers, kModel})}, 1);
  EXPECT_THAT(Saved(), ElementsAre("f32[4, 2, 8]"));  // what the relu cuts off; not W's input
}

TEST_F(SavedTest, LinearLayerWithTrainableBiasKeepsNothing) {
  const ScanBody layer = [](In carry, In w) -> ScanStep {
    return {{MatMul(carry[0], w[0]) + w[1]}};
  };
  Train(layer, {Input({kLayers, kModel, kModel}), Input({kLayers, kModel})}, 1);
  EXPECT_THAT(Saved(), IsEmpty());
}

TEST_F(SavedTest, LoraKeepsWhatItsAdaptersNeed) {
  const ScanBody layer = [](In carry, In w) -> ScanStep {
    const Tensor& x = carry[0];
    return {{x + MatMul(x, w[0]) + MatMul(MatMul(x, w[1]), w[2])}};
  };
  Train(layer,
        {Input({kLayers, kModel, kModel}), Input({kLayers, kModel, kRank}),
         Input({kLayers, kRank, kModel})},
        1);
  EXPECT_THAT(Saved(), UnorderedElementsAre("f32[4, 2, 8]", "f32[4, 2, 3]"));
}

// Two trainable weights around a non-linearity: x, its product, the sine and their names.
ScanBody MlpLayer() {
  return [](In carry, In w) -> ScanStep {
    const Tensor up = CheckpointName(MatMul(carry[0], w[0]), "up");
    return {{MatMul(Sin(up), w[1])}};
  };
}

Out MlpStacks(const std::function<Tensor(const Dims&)>& input) {
  return {input({kLayers, kModel, kHidden}), input({kLayers, kHidden, kModel})};
}

TEST_F(SavedTest, RematEverythingKeepsEachNeededValueOnce) {
  Train(MlpLayer(), MlpStacks([&](const Dims& dims) { return Input(dims); }), 0);
  EXPECT_THAT(Saved(), UnorderedElementsAre("f32[4, 2, 8]", "f32[4, 2, 16]", "f32[4, 2, 16]"));
}

TEST_F(SavedTest, RematNothingKeepsCarriesOnly) {
  Train(MlpLayer(), MlpStacks([&](const Dims& dims) { return Input(dims); }), 0, Remat::Nothing());
  EXPECT_THAT(Saved(), ElementsAre("f32[4, 2, 8]"));
}

TEST_F(SavedTest, OffloadedCarriesGoToTheHostAndBack) {
  Remat remat = Remat::Named({"up"});
  remat.offloads_carries = true;
  Train(MlpLayer(), MlpStacks([&](const Dims& dims) { return Input(dims); }), 0, remat);
  EXPECT_THAT(Saved(), UnorderedElementsAre("f32[4, 2, 8]", "f32[4, 2, 16]"));
  const std::string text = ToStableHlo(graph_);
  EXPECT_EQ(Count(text, "_xla_buffer_placement = \"pinned_host\""), 1u);
  EXPECT_EQ(Count(text, "_xla_buffer_placement = \"device\""), 1u);
}

TEST_F(SavedTest, PrefetchedCarriesAreFetchedAnIterationAhead) {
  Remat remat = Remat::Named({"up"});
  remat.offloads_carries = true;
  remat.prefetches_carries = true;
  Train(MlpLayer(), MlpStacks([&](const Dims& dims) { return Input(dims); }), 0, remat);
  EXPECT_THAT(Saved(), UnorderedElementsAre("f32[4, 2, 8]", "f32[4, 2, 16]"));
  const std::string text = ToStableHlo(graph_);
  EXPECT_EQ(Count(text, "_xla_buffer_placement = \"pinned_host\""), 1u);
  // Before the reverse scan, and in it.
  EXPECT_EQ(Count(text, "_xla_buffer_placement = \"device\""), 2u);
}

// The reverse of the outer scan copies the inner one, which then gains results.
TEST_F(SavedTest, AnInnerScanMayOffloadToo) {
  Remat remat = Remat::Nothing();
  remat.offloads_carries = true;
  const ScanBody layer = [&](In carry, In w) -> ScanStep {
    const ScanBody half = [&](In inner, In) -> ScanStep { return {{Sin(inner[0]) * w[0]}}; };
    return {{Scan(half, {carry[0]}, {}, {.length = 3, .remat = remat}).carry[0]}};
  };
  Train(layer, {Input({kLayers, kModel})}, 0, remat);
  const std::string text = ToStableHlo(graph_);
  EXPECT_EQ(Count(text, "_xla_buffer_placement = \"pinned_host\""), 2u);
  EXPECT_EQ(Count(text, "_xla_buffer_placement = \"device\""), 2u);
}

TEST_F(SavedTest, RematNamedKeepsNamedValuesAndCarries) {
  Train(MlpLayer(), MlpStacks([&](const Dims& dims) { return Input(dims); }), 0,
        Remat::Named({"up"}));
  EXPECT_THAT(Saved(), UnorderedElementsAre("f32[4, 2, 8]", "f32[4, 2, 16]"));
  EXPECT_EQ(Count(ToStableHlo(graph_), "stablehlo.dot_general"), 2u + 4u);
}

TEST_F(SavedTest, NamesThatNoPolicyAsksForChangeNothing) {
  Train(MlpLayer(), MlpStacks([&](const Dims& dims) { return Input(dims); }), 0,
        Remat::Named({"down"}));
  EXPECT_THAT(Saved(), ElementsAre("f32[4, 2, 8]"));
}

TEST_F(SavedTest, CheckpointInsideAScanKeepsItsResults) {
  const ScanBody layer = [](In carry, In w) -> ScanStep {
    const TensorFunction mlp = [](In p) { return Out{MatMul(Sin(MatMul(p[0], p[1])), p[2])}; };
    const Tensor y = Checkpoint(mlp, {carry[0], w[0], w[1]})[0];
    return {{y * y}};
  };
  Train(layer, MlpStacks([&](const Dims& dims) { return Input(dims); }), 0);
  EXPECT_THAT(Saved(), ElementsAre("f32[4, 2, 8]", "f32[4, 2, 8]"));  // the carry and y
}

TEST_F(SavedTest, InvariantValuesAreNotStacked) {
  const Tensor scale = Input({kModel});
  const ScanBody layer = [&](In carry, In w) -> ScanStep {
    return {{Sin(carry[0] * Exp(scale)) + w[0]}};
  };
  Train(layer, {Input({kLayers, kModel})}, 0);
  EXPECT_THAT(Saved(), ElementsAre("f32[4, 2, 8]"));  // the sine's argument
}

TEST_F(SavedTest, InvariantCarriesAreNotStacked) {
  const Tensor x = Input({kModel});
  const Tensor weight = Input({kModel});
  const ScanBody body = [](In carry, In) -> ScanStep { return {{carry[0] * carry[1], carry[1]}}; };
  const Out grads =
      ValueAndGrad(
          [&](In p) -> Loss {
            const ScanResult result = Scan(body, {p[0], weight}, {}, {.length = kLayers});
            traced_ = 2;
            return {Sum(result.carry[0])};
          },
          {x})
          .grads;
  graph_.AddOutput(grads[0], {});
  EXPECT_THAT(Saved(), IsEmpty());
}

TEST_F(SavedTest, ScanWithoutTrainableValuesIsNotReversed) {
  const Tensor x = Input({kModel});
  const ScanBody body = [](In carry, In) -> ScanStep { return {{Sin(carry[0])}}; };
  const ValueAndGradResult result = ValueAndGrad(
      [&](In p) -> Loss { return {Sum(Scan(body, {x}, {}, {.length = kLayers}).carry[0] * p[0])}; },
      {Input({kModel})});
  graph_.AddOutput(result.grads[0], {});
  EXPECT_EQ(Scans().size(), 1u);
}

TEST_F(SavedTest, AStackThatTheCallerTakesIsNotStackedAgain) {
  const Tensor x = Input({kModel});
  const ScanBody body = [](In carry, In) -> ScanStep {
    const Tensor y = Exp(carry[0]);
    return {{y}, {y}};
  };
  const ValueAndGradResult result = ValueAndGrad(
      [&](In p) -> Loss {
        const ScanResult scan = Scan(body, {p[0]}, {}, {.length = kLayers});
        return {Sum(scan.carry[0]), scan.ys};
      },
      {x});
  graph_.AddOutput(result.grads[0], {});
  graph_.AddOutput(result.aux[0], {});
  EXPECT_EQ(Count(ToStableHlo(graph_), "stablehlo.dynamic_update_slice"), 1u);
}

// Sines in the gradient of a chain of three checkpointed functions of two sines each. Each
// function's gradient needs its input, which the first two compute, and its inner sine.
size_t SinesOfChain(Graph& graph, const Remat& remat, bool nested) {
  const Tracing tracing(graph);
  const Tensor x = graph.AddInput({DType::kF32, {3}}, {});
  const TensorFunction twice = [](In p) { return Out{Sin(Sin(p[0]))}; };
  const auto chain = [&](In p) {
    Tensor y = p[0];
    for (int i = 0; i < 3; ++i) y = Checkpoint(twice, {y}, remat)[0];
    return Out{y};
  };
  const Out grads =
      ValueAndGrad(
          [&](In p) -> Loss { return {Sum(nested ? Checkpoint(chain, {p[0]})[0] : chain(p)[0])}; },
          {x})
          .grads;
  graph.AddOutput(grads[0], {});
  return Count(ToStableHlo(graph), "stablehlo.sine");
}

TEST(CheckpointTest, ComputesItsInsideAgainAndKeepsItsEdges) {
  Graph nothing;
  EXPECT_EQ(SinesOfChain(nothing, Remat::Nothing(), false), 4u + 3u);
  Graph everything;
  EXPECT_EQ(SinesOfChain(everything, Remat::Everything(), false), 4u + 1u);
}

// The outer scope computes the edges again, each inner one its own inside.
TEST(CheckpointTest, NestedScopesComputeTheirInsideTwice) {
  Graph nothing;
  EXPECT_EQ(SinesOfChain(nothing, Remat::Nothing(), true), 4u + 3u);
  Graph everything;
  EXPECT_EQ(SinesOfChain(everything, Remat::Everything(), true), 4u + 1u);
}

TEST(CheckpointTest, NamedValuesAreKept) {
  Graph graph;
  const Tracing tracing(graph);
  const Tensor x = graph.AddInput({DType::kF32, {3}}, {});
  const TensorFunction function = [](In p) {
    return Out{Sin(CheckpointName(Exp(Tanh(p[0])), "kept"))};
  };
  const auto loss = [&](In p) -> Loss {
    return {Sum(Checkpoint(function, {p[0]}, Remat::Named({"kept"}))[0])};
  };
  const ValueAndGradResult result = ValueAndGrad(loss, {x});
  graph.AddOutput(result.value, {});
  graph.AddOutput(result.grads[0], {});
  // The sine's argument is there; the exponential's result, unnamed, is computed again.
  const std::string text = ToStableHlo(graph);
  EXPECT_EQ(Count(text, "stablehlo.sine"), 1u);
  EXPECT_EQ(Count(text, "stablehlo.tanh"), 2u);
}

TEST(CheckpointTest, GradientsInsideAScopeUseItsValues) {
  Graph graph;
  const Tracing tracing(graph);
  const Tensor x = graph.AddInput({DType::kF32, {3}}, {});
  const TensorFunction gradient = [](In in) {
    return ValueAndGrad([](In p) -> Loss { return {Sum(Exp(Sin(p[0])))}; }, {in[0]}).grads;
  };
  graph.AddOutput(Checkpoint(gradient, {x})[0], {});
  EXPECT_EQ(Count(ToStableHlo(graph), "stablehlo.sine"), 1u);
}

}  // namespace
}  // namespace sophia
