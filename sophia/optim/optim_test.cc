#include <gmock/gmock.h>

#include "sophia/base/error_for_test.h"
#include "sophia/graph/graph.h"
#include "sophia/optim/optimizers.h"

namespace sophia::optim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

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
  Graph graph;
  const Tensor step = graph.AddInput({DType::kS32, {}}, {});
  const Tracing tracing(graph);
  const auto refusal = [&](const Schedule& schedule) {
    return MessageOf([&] { LearningRate(schedule, step); });
  };
  EXPECT_EQ(refusal({ScheduleKind::kConstant, -1}),
            "[schedule] expected a learning rate of at least 0, got -1");
  EXPECT_EQ(refusal({ScheduleKind::kConstantWithWarmup, 1, -2}),
            "[schedule] expected at least 0 warm-up steps, got -2");
  EXPECT_EQ(refusal({ScheduleKind::kLinear, 1, 2}),
            "[schedule] expected the total steps of a linear schedule, got 0");
  EXPECT_THAT(refusal({ScheduleKind::kCosine, 1}), HasSubstr("total steps of a cosine schedule"));
}

TEST(OptimizersTest, RefuseWhatIsOutOfRange) {
  EXPECT_EQ(MessageOf([] { ClipByGlobalNorm(0); }),
            "[ClipByGlobalNorm] expected a norm above 0, got 0");
  EXPECT_EQ(MessageOf([] { ScaleByAdam({.b1 = 1}); }),
            "[ScaleByAdam] expected b1 of at least 0 and below 1, got 1");
  EXPECT_THAT(MessageOf([] { ScaleByAdam({.b2 = -0.1}); }), HasSubstr("expected b2"));
  EXPECT_THAT(MessageOf([] { ScaleByAdam({.eps = -1}); }), HasSubstr("expected eps"));
  EXPECT_THAT(MessageOf([] { AddDecayedWeights(-1); }), HasSubstr("expected weight decay"));
}

TEST(ChainTest, NamesSlotsByParameter) {
  const std::vector<NamedShape> parameters = {{"x.lora_A", {DType::kBF16, {2, 3}}},
                                              {"x.lora_B", {DType::kF32, {4}}}};
  const Transform chain =
      Chain({ClipByGlobalNorm(1), AdamW({.update = {.schedule = {.learning_rate = 1}}})});
  std::vector<std::string> names;
  for (const Slot& slot : chain.slots(parameters)) {
    names.push_back(slot.name + " " + ToString(slot.shape));
    EXPECT_EQ(slot.initial_value, 0);
  }
  EXPECT_THAT(names, ElementsAre("mu/x.lora_A f32[2, 3]", "mu/x.lora_B f32[4]",
                                 "nu/x.lora_A f32[2, 3]", "nu/x.lora_B f32[4]"));
  EXPECT_THROW(Chain({ScaleByAdam(), ScaleByAdam()}).slots(parameters), InternalError);
}

TEST(ChainTest, EndsInATransformThatMovesParameters) {
  const Transform kernel = AdamW(
      {.update = {.schedule = {.learning_rate = 1}}, .target = {.mode = pallas::Mode::kInterpret}});
  EXPECT_FALSE(kernel.update);
  const Transform chain = Chain({ClipByGlobalNorm(1), kernel});
  EXPECT_FALSE(chain.update);
  Graph graph;
  const Tensor w = graph.AddInput({DType::kF32, {2, 3}}, {});
  const Tensor step = graph.AddInput({DType::kS32, {}}, {});
  const Tracing tracing(graph);
  const Applied applied = Apply(chain, {{w}, {w}, {w, w}, step});
  EXPECT_EQ(applied.params[0].shape(), w.shape());
  EXPECT_EQ(applied.state.size(), 2U);
  EXPECT_THROW(Apply(chain, {{w}, {w}, {w, w, w}, step}), InternalError);
  EXPECT_THROW(Chain({kernel, ClipByGlobalNorm(1)}), InternalError);
}

TEST(InitialBytesTest, HasTheTypeOfTheSlot) {
  EXPECT_THAT(InitialBytes({"mu/w", {DType::kU8, {2, 2}}, 127}),
              ElementsAre(std::byte{127}, std::byte{127}, std::byte{127}, std::byte{127}));
  EXPECT_THAT(InitialBytes({"mu/w", {DType::kF32, {}}, -2}),
              ElementsAre(std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0xC0}));
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
