// AdamW with 8-bit moments, over several steps on the CPU, against f32 moments.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "sophia/pjrt/test_support.h"
#include "tests/optim/optim_run.h"

namespace sophia::optim {
namespace {

const Schedule kSchedule = {
    .kind = ScheduleKind::kCosine, .learning_rate = 0.02, .warmup_steps = 2, .total_steps = 6};

// What AdamW of both kinds of moments does to one parameter and a small one.
struct MomentsRun {
  std::vector<Slot> slots;
  std::vector<OptimStep> steps;
};
MomentsRun RunMoments(MomentStorage moments, pallas::Mode mode) {
  const AdamWOptions options{
      .update = {.schedule = kSchedule, .weight_decay = 0.1, .max_grad_norm = 1},
      .moments = moments,
      .target = {.mode = mode}};
  const Transform transform = AdamW(options);
  OptimCase test{transform,
                 kSchedule,
                 {{"w", {DType::kF32, {2, 160, 16}}}, {"small", {DType::kF32, {16, 4}}}}};
  std::mt19937 random(7);
  std::normal_distribution<double> normal;
  const auto draw = [&] {
    std::vector<Values> tensors;
    for (const NamedShape& parameter : test.parameters) {
      Values& values = tensors.emplace_back();
      for (int64_t i = 0; i < parameter.shape.elements(); ++i) {
        values.push_back(static_cast<float>(normal(random)));
      }
    }
    return tensors;
  };
  test.initial = draw();
  for (int step = 0; step < 6; ++step) test.grads.push_back(draw());
  return {transform.slots(test.parameters), RunOptim(pjrt::SharedCpuClient(), test)};
}

double Distance(const std::vector<Values>& a, const std::vector<Values>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < a[i].size(); ++j) sum += std::pow(a[i][j] - b[i][j], 2);
  }
  return std::sqrt(sum);
}

TEST(EightBitMomentsTest, MoveParametersAsF32MomentsDo) {
  const std::vector<OptimStep> wide =
      RunMoments(MomentStorage::kF32, pallas::Mode::kReference).steps;
  for (const pallas::Mode mode : {pallas::Mode::kReference, pallas::Mode::kInterpret}) {
    const std::vector<OptimStep> coded = RunMoments(MomentStorage::k8Bit, mode).steps;
    const double way = Distance(wide.back().params, wide[0].params);
    const double apart = Distance(wide.back().params, coded.back().params);
    EXPECT_LT(apart, 0.02 * way);
    EXPECT_GT(apart, 0);
    // The first step knows no rounded moments.
    EXPECT_LT(Distance(wide[0].params, coded[0].params), 1e-6);
    EXPECT_LT(Distance({wide.back().params[1]}, {coded.back().params[1]}), 1e-6) << "small";
  }
}

TEST(EightBitMomentsTest, AreTheSameInterpretedAndInPlainOps) {
  const std::vector<OptimStep> kernel =
      RunMoments(MomentStorage::k8Bit, pallas::Mode::kInterpret).steps;
  const std::vector<OptimStep> plain =
      RunMoments(MomentStorage::k8Bit, pallas::Mode::kReference).steps;
  for (size_t step = 0; step < kernel.size(); ++step) {
    EXPECT_LT(Distance(kernel[step].params, plain[step].params), 1e-5) << step;
  }
}

TEST(EightBitMomentsTest, NameTheirSlots) {
  const MomentsRun run = RunMoments(MomentStorage::k8Bit, pallas::Mode::kReference);
  std::vector<std::string> names;
  for (const Slot& slot : run.slots) names.push_back(slot.name + " " + ToString(slot.shape));
  EXPECT_EQ(names,
            (std::vector<std::string>{"mu/w u8[32, 160]", "mu/small f32[16, 4]", "nu/w u8[32, 160]",
                                      "nu/small f32[16, 4]", "mu_absmax/w f32[1, 1, 160]",
                                      "nu_absmax/w f32[1, 1, 160]"}));
  ASSERT_EQ(run.steps[0].state.size(), run.slots.size());
  for (size_t i = 0; i < run.slots.size(); ++i) {
    const auto elements = static_cast<size_t>(run.slots[i].shape.elements());
    EXPECT_EQ(run.steps[0].state[i].size(), elements);
  }
}

// LoRA of rank 16 on the widest layer of SmolLM2, Llama 3.2 1B and Llama 3.1 8B.
TEST(EightBitMomentsTest, TakeAQuarterOfTheMemory) {
  const auto bytes = [](const std::vector<NamedShape>& parameters, MomentStorage moments) {
    int64_t sum = 0;
    const Transform adamw = AdamW({.update = {.schedule = kSchedule}, .moments = moments});
    for (const Slot& slot : adamw.slots(parameters)) sum += slot.shape.bytes();
    return static_cast<double>(sum);
  };
  for (const auto& [layers, size] :
       {std::pair<int64_t, int64_t>(30, 1536), {16, 8192}, {32, 14336}}) {
    const std::vector<NamedShape> parameters = {{"a", {DType::kF32, {layers, 16, size}}},
                                                {"b", {DType::kF32, {layers, size, 16}}}};
    const double share =
        bytes(parameters, MomentStorage::k8Bit) / bytes(parameters, MomentStorage::kF32);
    EXPECT_GT(share, 0.25);
    EXPECT_LT(share, 0.256) << size;
    EXPECT_EQ(bytes(parameters, MomentStorage::kBF16Mean) / bytes(parameters, MomentStorage::kF32),
              0.75);
  }
}

}  // namespace
}  // namespace sophia::optim
