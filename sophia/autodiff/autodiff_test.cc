// What the traced backward program contains: who gets a gradient, and what faults say.
#include "sophia/autodiff/autodiff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/graph/printer.h"

namespace sophia {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;

class AutodiffTest : public ::testing::Test {
 protected:
  Tensor Input(const Dims& dims, DType dtype = DType::kF32) {
    return graph_.AddInput({dtype, dims}, {});
  }
  // The text of a program that gives `values`.
  std::string Text(const Out& values) {
    for (const Tensor& value : values) graph_.AddOutput(value, {});
    return ToStableHlo(graph_);
  }

  Graph graph_;
  Tracing tracing_{graph_};
};

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

bool IsZero(const Tensor& tensor) {
  const Node& node = *tensor.node();
  return node.op->name == "full" && node.attrs.Get<double>("value") == 0;
}

TEST_F(AutodiffTest, FrozenWeightsGetNoGradient) {
  const Tensor x = Input({2, 3});
  const Tensor frozen = Input({3, 4});
  const Tensor bias = Input({4});
  const ValueAndGradResult result =
      ValueAndGrad([&](In p) -> Loss { return {Sum(Max(MatMul(x, frozen) + p[0], 0.0))}; }, {bias});
  ASSERT_EQ(result.grads.size(), 1u);
  EXPECT_EQ(result.grads[0].shape(), bias.shape());
  const std::string text = Text(result.grads);
  EXPECT_EQ(Count(text, "stablehlo.dot_general"), 1u) << text;
}

TEST_F(AutodiffTest, UnusedAndIntegerParametersGetZeros) {
  const Tensor used = Input({3});
  const Tensor unused = Input({2});
  const Tensor index = Input({3}, DType::kS32);
  const Out grads =
      ValueAndGrad([](In p) -> Loss { return {Sum(p[0] * Convert(p[2], DType::kF32))}; },
                   {used, unused, index})
          .grads;
  EXPECT_FALSE(IsZero(grads[0]));
  EXPECT_TRUE(IsZero(grads[1]));
  EXPECT_TRUE(IsZero(grads[2]));
  EXPECT_EQ(grads[1].shape(), unused.shape());
  EXPECT_EQ(grads[2].shape(), index.shape());
}

TEST_F(AutodiffTest, UndefinedCotangentStandsForZero) {
  const Tensor x = Input({3});
  const VjpResult vjp = Vjp([](In p) { return Out{Sin(p[0]), Exp(p[0])}; }, {x});
  const Out grads = vjp.pullback(Out{OnesLike(x), Tensor()});
  const std::string text = Text(grads);
  EXPECT_THAT(text, HasSubstr("stablehlo.cosine"));
  EXPECT_THAT(text, Not(HasSubstr("stablehlo.exponential")));
  EXPECT_TRUE(IsZero(vjp.pullback(Out{Tensor(), Tensor()})[0]));
}

TEST_F(AutodiffTest, PullbackCanBeCalledAgain) {
  const Tensor x = Input({3});
  const VjpResult vjp = Vjp([](In p) { return Out{p[0] * p[0]}; }, {x});
  const Tensor once = vjp.pullback(Out{OnesLike(x)})[0];
  const Tensor again = vjp.pullback(Out{OnesLike(x)})[0];
  EXPECT_FALSE(once == again);
}

TEST_F(AutodiffTest, StopGradientEndsTheSweep) {
  const Tensor x = Input({3});
  const Out grads =
      ValueAndGrad([](In p) -> Loss { return {Sum(StopGradient(Sin(p[0])))}; }, {x}).grads;
  EXPECT_TRUE(IsZero(grads[0]));
}

TEST_F(AutodiffTest, ClosedOverTensorsAreConstants) {
  const Tensor x = Input({3});
  const Out grads = ValueAndGrad([&](In) -> Loss { return {Sum(Sin(x))}; }, {x}).grads;
  EXPECT_TRUE(IsZero(grads[0]));
}

TEST_F(AutodiffTest, AuxiliaryValuesAreNotDifferentiated) {
  const Tensor x = Input({3});
  const ValueAndGradResult result = ValueAndGrad(
      [](In p) -> Loss {
        return {Sum(Sin(p[0])), {Exp(p[0])}};
      },
      {x});
  EXPECT_EQ(result.aux.size(), 1u);
  EXPECT_THAT(Text(result.grads), Not(HasSubstr("stablehlo.exponential")));
}

// The line after this call.
int NextLine(int line = __builtin_LINE()) { return line + 1; }

std::string At(int line) { return fmt::format("autodiff_test.cc:{}]", line); }

TEST_F(AutodiffTest, LossMustBeAFloatScalar) {
  const Tensor x = Input({3});
  const int line = NextLine();
  const auto vector = [&] { ValueAndGrad([](In p) -> Loss { return {p[0]}; }, {x}); };
  EXPECT_THAT(vector, ThrowsMessage<Error>(AllOf(HasSubstr(At(line)), HasSubstr("f32[3]"))));
  EXPECT_THAT([&] { ValueAndGrad([](In) -> Loss { return {}; }, {x}); },
              ThrowsMessage<Error>(HasSubstr("got no value")));
}

TEST_F(AutodiffTest, CotangentsMustFitTheOutputs) {
  const Tensor x = Input({3});
  const VjpResult vjp = Vjp([](In p) { return Out{Sum(p[0])}; }, {x});
  EXPECT_THAT([&] { vjp.pullback(Out{}); }, ThrowsMessage<Error>(HasSubstr("expected 1")));
  EXPECT_THAT(
      [&] { vjp.pullback(Out{x}); },
      ThrowsMessage<Error>(HasSubstr("expected a cotangent f32[] for output 0, got f32[3]")));
}

TEST_F(AutodiffTest, WhileAndCustomCallNameTheirLine) {
  const Tensor x = Input({3});
  int line = 0;
  const auto loop = [&](In p) -> Loss {
    const Predicate more = [](In state) { return Lt(Sum(state[0]), 9.0); };
    const TensorFunction twice = [](In state) { return Out{state[0] * 2.0}; };
    line = NextLine();
    return {Sum(While(more, twice, {p[0]})[0])};
  };
  EXPECT_THAT([&] { ValueAndGrad(loop, {x}); },
              ThrowsMessage<Error>(AllOf(HasSubstr("while: expected an op with a gradient"),
                                         HasSubstr("autodiff_test.cc:"))));
  EXPECT_THAT([&] { ValueAndGrad(loop, {x}); }, ThrowsMessage<Error>(HasSubstr(At(line))));
  const auto call = [&](In p) -> Loss {
    line = NextLine();
    return {Sum(CustomCall("kernel", {p[0]}, {p[0].shape()})[0])};
  };
  EXPECT_THAT([&] { ValueAndGrad(call, {x}); },
              ThrowsMessage<Error>(HasSubstr("custom_call: expected an op with a gradient")));
  EXPECT_THAT([&] { ValueAndGrad(call, {x}); }, ThrowsMessage<Error>(HasSubstr(At(line))));
}

TEST_F(AutodiffTest, WhileBehindStopGradientIsFine) {
  const Tensor x = Input({3});
  const auto loop = [](In p) -> Loss {
    const Out end = While([](In state) { return Lt(Sum(state[0]), 9.0); },
                          [](In state) { return Out{state[0] * 2.0}; }, {p[0]});
    return {Sum(StopGradient(end[0]) * p[0])};
  };
  EXPECT_NO_THROW(ValueAndGrad(loop, {x}));
}

TEST_F(AutodiffTest, CustomBackwardMustGiveACotangentForEachPrimal) {
  const Tensor x = Input({3});
  const auto loss = [](In p) -> Loss {
    return {Sum(CustomVjp(
        {p[0], p[0]},
        [](In q) -> CustomVjpOutput { return {.outputs = {q[0] * q[1]}, .residuals = {}}; },
        [](In, In g) { return Out{g[0]}; })[0])};
  };
  EXPECT_THAT([&] { ValueAndGrad(loss, {x}); },
              ThrowsMessage<Error>(
                  AllOf(HasSubstr("expected 2 cotangents"), HasSubstr("autodiff_test.cc:"))));
}

TEST_F(AutodiffTest, CustomBackwardIsToldWhichCotangentsAreUsed) {
  const Tensor x = Input({3});
  const Tensor fixed = Input({3});
  std::vector<bool> seen;
  const auto loss = [&](In p) -> Loss {
    return {Sum(CustomVjp(
        {p[0], fixed},
        [](In q) -> CustomVjpOutput { return {.outputs = {q[0] * q[1]}, .residuals = {q[1]}}; },
        [&](In r, In g, const std::vector<bool>& wanted) {
          seen = wanted;
          return Out{g[0] * r[0], {}};
        })[0])};
  };
  ValueAndGrad(loss, {x});
  EXPECT_EQ(seen, (std::vector<bool>{true, false}));
}

TEST_F(AutodiffTest, CustomVjpReplacesTheGradientOfItsForward) {
  const Tensor x = Input({3});
  const Out grads = ValueAndGrad(
                        [](In p) -> Loss {
                          return {Sum(CustomVjp(
                              {p[0]},
                              [](In q) -> CustomVjpOutput {
                                const Tensor y = CustomCall("kernel", {q[0]}, {q[0].shape()})[0];
                                return {.outputs = {y}, .residuals = {y}};
                              },
                              [](In r, In g) { return Out{g[0] * r[0]}; })[0])};
                        },
                        {x})
                        .grads;
  EXPECT_EQ(Count(Text(grads), "stablehlo.custom_call"), 1u);
}

}  // namespace
}  // namespace sophia
