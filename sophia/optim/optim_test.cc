#include <gmock/gmock.h>

#include "sophia/base/error_for_test.h"
#include "sophia/graph/graph.h"
#include "sophia/optim/optimizers.h"

namespace sophia::optim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<double> Rates(const Schedule& schedule, std::initializer_list<int64_t> steps) {
  std::vector<double> rates;
  for (const int64_t step : steps) rates.push_back(LearningRateAt(schedule, step));
  return rates;
}

MATCHER_P(Near, expected, "") { return std::abs(arg - expected) < 1e-12; }

TEST(ScheduleTest, RisesAndFalls) {
  EXPECT_THAT(Rates({ScheduleKind::kConstant, 8, 4}, {0, 1, 100}), ElementsAre(8, 8, 8));
  EXPECT_THAT(Rates({ScheduleKind::kConstantWithWarmup, 8, 4}, {0, 1, 3, 4, 100}),
              ElementsAre(0, 2, 6, 8, 8));
  EXPECT_THAT(Rates({ScheduleKind::kLinear, 8, 4, 8}, {0, 2, 4, 5, 7, 8, 9}),
              ElementsAre(0, 4, 8, 6, 2, 0, 0));
  EXPECT_THAT(Rates({ScheduleKind::kCosine, 8, 4, 10}, {2, 4, 6, 7, 8, 10}),
              ElementsAre(Near(4.0), Near(8.0), Near(6.0), Near(4.0), Near(2.0), Near(0.0)));
}

TEST(ScheduleTest, NamesAreThoseOfTransformers) {
  for (const std::string_view name : kScheduleNames) {
    EXPECT_EQ(Name(ScheduleKindFromName(name)), name);
  }
  EXPECT_EQ(ScheduleKindFromName("cosine"), ScheduleKind::kCosine);
  EXPECT_EQ(MessageOf([] { ScheduleKindFromName("cosin"); }),
            "[schedule] expected one of constant, constant_with_warmup, linear, cosine, got "
            "'cosin'");
}

TEST(ScheduleTest, RefusesWhatItCannotFollow) {
  EXPECT_EQ(MessageOf([] {
              LearningRateAt({ScheduleKind::kConstant, -1}, 0);
            }),
            "[schedule] expected a learning rate of at least 0, got -1");
  EXPECT_EQ(MessageOf([] {
              LearningRateAt({ScheduleKind::kConstantWithWarmup, 1, -2}, 0);
            }),
            "[schedule] expected at least 0 warm-up steps, got -2");
  EXPECT_EQ(MessageOf([] {
              LearningRateAt({ScheduleKind::kLinear, 1, 2}, 0);
            }),
            "[schedule] expected the total steps of a linear schedule, got 0");
  Graph graph;
  const Tensor step = graph.AddInput({DType::kS32, {}}, {});
  const Tracing tracing(graph);
  EXPECT_THAT(MessageOf([&] {
                LearningRate({ScheduleKind::kCosine, 1}, step);
              }),
              HasSubstr("total steps of a cosine schedule"));
}

TEST(OptimizersTest, RefuseWhatIsOutOfRange) {
  EXPECT_EQ(MessageOf([] { ClipByGlobalNorm(0); }),
            "[ClipByGlobalNorm] expected a norm above 0, got 0");
  EXPECT_EQ(MessageOf([] { ScaleByAdam({.b1 = 1}); }),
            "[ScaleByAdam] expected b1 of at least 0 and below 1, got 1");
  EXPECT_THAT(MessageOf([] { ScaleByAdam({.b2 = -0.1}); }), HasSubstr("expected b2"));
  EXPECT_THAT(MessageOf([] { ScaleByAdam({.eps = -1}); }), HasSubstr("expected eps"));
  EXPECT_THAT(MessageOf([] { AddDecayedWeights(-1); }), HasSubstr("expected weight decay"));
  EXPECT_THAT(MessageOf([] { Trace({.momentum = 1}); }), HasSubstr("expected momentum"));
}

TEST(ChainTest, NamesSlotsByParameter) {
  const std::vector<NamedShape> parameters = {{"x.lora_A", {DType::kBF16, {2, 3}}},
                                              {"x.lora_B", {DType::kF32, {4}}}};
  const Transform chain =
      Chain({ClipByGlobalNorm(1), Trace({}), AdamW({.schedule = {.learning_rate = 1}})});
  std::vector<std::string> names;
  for (const Slot& slot : chain.slots(parameters)) {
    names.push_back(slot.name + " " + ToString(slot.shape));
    EXPECT_EQ(slot.initial_value, 0);
  }
  EXPECT_THAT(names, ElementsAre("trace/x.lora_A f32[2, 3]", "trace/x.lora_B f32[4]",
                                 "mu/x.lora_A f32[2, 3]", "mu/x.lora_B f32[4]",
                                 "nu/x.lora_A f32[2, 3]", "nu/x.lora_B f32[4]"));
  EXPECT_THROW(Chain({Trace({}), Trace({})}).slots(parameters), InternalError);
}

TEST(ChainTest, ChecksItsArguments) {
  Graph graph;
  const Tensor w = graph.AddInput({DType::kF32, {2}}, {});
  const Tensor g = graph.AddInput({DType::kF32, {3}}, {});
  const Tensor step = graph.AddInput({DType::kS32, {}}, {});
  const Tracing tracing(graph);
  const Transform adam = Chain({ScaleByAdam()});
  EXPECT_EQ(adam.update({{w}, {w}, {w, w}, step}).state.size(), 2U);
  EXPECT_THROW(adam.update({{w}, {w}, {w}, step}), InternalError);
  EXPECT_THROW(adam.update({{w}, {w}, {w, w, w}, step}), InternalError);
  EXPECT_THROW(adam.update({{g}, {w}, {w, w}, step}), InternalError);
  EXPECT_THROW(adam.update({{}, {w}, {w, w}, step}), InternalError);
  EXPECT_THROW(adam.update({{w}, {w}, {w, w}, w}), InternalError);
}

}  // namespace
}  // namespace sophia::optim
