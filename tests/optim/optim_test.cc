// Every optimiser, run on the CPU, against torch's formulas in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <ostream>
#include <random>

#include "sophia/base/float_bits.h"
#include "sophia/pjrt/test_support.h"
#include "tests/optim/optim_run.h"

namespace sophia::optim {
namespace {

const Schedule kSchedule = {
    .kind = ScheduleKind::kCosine, .learning_rate = 0.02, .warmup_steps = 2, .total_steps = 6};

// A parameter's value and state in the reference.
struct Scalars {
  double p = 0;
  double m = 0;
  double v = 0;
};
using Reference = void (*)(Scalars& x, double g, double lr, int step);

struct OptimRow {
  const char* name;
  Transform transform;
  Reference reference;
  double max_norm = 0;  // the reference clips as clip_grad_norm_
  DType dtype = DType::kF32;
};
void PrintTo(const OptimRow& row, std::ostream* out) { *out << row.name; }

// torch.optim.AdamW(betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3).
void AdamWReference(Scalars& x, double g, double lr, int step) {
  x.p -= lr * 0.3 * x.p;
  x.m = 0.8 * x.m + 0.2 * g;
  x.v = 0.95 * x.v + 0.05 * g * g;
  const double m_hat = x.m / (1 - std::pow(0.8, step + 1));
  x.p -= lr * m_hat / (std::sqrt(x.v) / std::sqrt(1 - std::pow(0.95, step + 1)) + 1e-6);
}

void DefaultAdamReference(Scalars& x, double g, double lr, int step) {
  x.m = 0.9 * x.m + 0.1 * g;
  x.v = 0.999 * x.v + 0.001 * g * g;
  const double m_hat = x.m / (1 - std::pow(0.9, step + 1));
  x.p -= lr * m_hat / (std::sqrt(x.v) / std::sqrt(1 - std::pow(0.999, step + 1)) + 1e-8);
}

void SgdReference(Scalars& x, double g, double lr, int /*step*/) { x.p -= lr * (g + 0.1 * x.p); }

// Adam with b1 = 0 and b2 = 0.9.
void NoMomentumAdamReference(Scalars& x, double g, double lr, int step) {
  x.m = g;
  x.v = 0.9 * x.v + 0.1 * g * g;
  x.p -= lr * g / (std::sqrt(x.v) / std::sqrt(1 - std::pow(0.9, step + 1)) + 1e-8);
}

std::vector<OptimRow> Rows() {
  const Transform adamw = AdamW({.update = {.schedule = kSchedule, .weight_decay = 0.3},
                                 .adam = {.b1 = 0.8, .b2 = 0.95, .eps = 1e-6}});
  const Transform adamw_kernel =
      AdamW({.update = {.schedule = kSchedule, .weight_decay = 0.3, .max_grad_norm = 0.5},
             .adam = {.b1 = 0.8, .b2 = 0.95, .eps = 1e-6},
             .target = {.mode = pallas::Mode::kInterpret}});
  const Transform sgd = Sgd({.schedule = kSchedule, .weight_decay = 0.1});
  return {
      {"adam", AdamW({.update = {.schedule = kSchedule}}), DefaultAdamReference},
      {"adamw", adamw, AdamWReference},
      {"adamw_bf16", adamw, AdamWReference, 0, DType::kBF16},
      {"adamw_clipped", Chain({ClipByGlobalNorm(0.5), adamw}), AdamWReference, 0.5},
      {"adamw_within_norm", Chain({ClipByGlobalNorm(1e3), adamw}), AdamWReference, 1e3},
      {"adamw_kernel", adamw_kernel, AdamWReference, 0.5},
      {"adamw_kernel_bf16", adamw_kernel, AdamWReference, 0.5, DType::kBF16},
      {"adam_no_momentum", AdamW({.update = {.schedule = kSchedule}, .adam = {.b1 = 0, .b2 = 0.9}}),
       NoMomentumAdamReference},
      {"sgd", sgd, SgdReference},
      {"sgd_bf16", sgd, SgdReference, 0, DType::kBF16},
      {"sgd_clipped", Chain({ClipByGlobalNorm(0.5), sgd}), SgdReference, 0.5},
  };
}

double Rounded(double value, DType dtype) {
  if (dtype == DType::kBF16) return Bf16ToFloat(FloatToBf16(static_cast<float>(value)));
  return static_cast<float>(value);
}

OptimCase DrawCase(const OptimRow& row, int steps) {
  std::mt19937 random(7);
  std::normal_distribution<double> normal;
  const std::vector<NamedShape> parameters = {
      {"a", {row.dtype, {3, 4}}}, {"scalar", {row.dtype, {}}}, {"b", {row.dtype, {5}}}};
  OptimCase test{row.transform, kSchedule, parameters};
  for (const NamedShape& parameter : parameters) {
    Values& values = test.initial.emplace_back();
    for (int64_t i = 0; i < parameter.shape.elements(); ++i) {
      values.push_back(Rounded(normal(random), row.dtype));
    }
  }
  for (int step = 0; step < steps; ++step) {
    std::vector<Values>& grads = test.grads.emplace_back();
    for (const Values& initial : test.initial) {
      Values& values = grads.emplace_back();
      for (size_t i = 0; i < initial.size(); ++i) {
        values.push_back(Rounded(0.4 * normal(random), DType::kF32));
      }
    }
  }
  return test;
}

double Norm(const std::vector<Values>& tensors) {
  double sum = 0;
  for (const Values& values : tensors) {
    for (const double value : values) sum += value * value;
  }
  return std::sqrt(sum);
}

// The factor of torch.nn.utils.clip_grad_norm_.
double ClipFactor(const OptimRow& row, const std::vector<Values>& grads) {
  return row.max_norm > 0 ? std::min(1.0, row.max_norm / (Norm(grads) + 1e-6)) : 1;
}

// The multipliers of transformers.optimization's get_*_schedule* functions.
double RateOf(const Schedule& schedule, size_t at) {
  const auto step = static_cast<double>(at);
  const auto warmup = static_cast<double>(schedule.warmup_steps);
  const auto total = static_cast<double>(schedule.total_steps);
  const double peak = schedule.learning_rate;
  if (schedule.kind == ScheduleKind::kConstant) return peak;
  if (step < warmup) return peak * step / std::max(1.0, warmup);
  if (schedule.kind == ScheduleKind::kConstantWithWarmup) return peak;
  const double span = std::max(1.0, total - warmup);
  if (schedule.kind == ScheduleKind::kLinear) return peak * std::max(0.0, (total - step) / span);
  return peak * std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * (step - warmup) / span)));
}

class OptimTest : public ::testing::TestWithParam<OptimRow> {};

TEST_P(OptimTest, FollowsTheFormula) {
  const OptimRow& row = GetParam();
  const OptimCase test = DrawCase(row, 6);
  std::vector<std::vector<Scalars>> reference;
  for (const Values& initial : test.initial) {
    std::vector<Scalars>& scalars = reference.emplace_back();
    for (const double value : initial) scalars.push_back({.p = value});
  }
  const std::vector<OptimStep> steps = RunOptim(pjrt::SharedCpuClient(), test);
  ASSERT_EQ(steps.size(), test.grads.size());
  for (size_t k = 0; k < steps.size(); ++k) {
    const double lr = RateOf(kSchedule, k);
    const double norm = Norm(test.grads[k]);
    EXPECT_NEAR(steps[k].learning_rate, lr, 1e-6 * lr);
    EXPECT_NEAR(steps[k].grad_norm, norm, 1e-6 * norm);
    const double clip = ClipFactor(row, test.grads[k]);
    for (size_t t = 0; t < reference.size(); ++t) {
      for (size_t i = 0; i < reference[t].size(); ++i) {
        Scalars& x = reference[t][i];
        row.reference(x, clip * test.grads[k][t][i], lr, static_cast<int>(k));
        if (row.dtype == DType::kBF16) x.p = Rounded(x.p, row.dtype);
        EXPECT_NEAR(steps[k].params[t][i], x.p, 4e-7) << "step " << k << " of " << t << ", " << i;
      }
    }
  }
}

TEST_P(OptimTest, KeepsItsStateInTheOrderOfTheSlots) {
  const OptimRow& row = GetParam();
  const OptimCase test = DrawCase(row, 1);
  const std::vector<Slot> slots = row.transform.slots(test.parameters);
  const OptimStep step = RunOptim(pjrt::SharedCpuClient(), test)[0];
  ASSERT_EQ(step.state.size(), slots.size());
  for (size_t s = 0; s < slots.size(); ++s) {
    EXPECT_EQ(slots[s].shape.dtype, DType::kF32);
    const size_t t = s % test.parameters.size();
    Scalars x{.p = test.initial[t][0]};
    row.reference(x, ClipFactor(row, test.grads[0]) * test.grads[0][t][0], 0, 0);
    const std::string& name = test.parameters[t].name;
    const double expected = slots[s].name == "nu/" + name ? x.v : x.m;
    EXPECT_TRUE(slots[s].name == "nu/" + name || slots[s].name == "mu/" + name) << slots[s].name;
    EXPECT_NEAR(step.state[s][0], expected, 1e-6 * std::abs(expected)) << slots[s].name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, OptimTest, ::testing::ValuesIn(Rows()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(GlobalNormTest, StaysExactOverManyElements) {
  OptimCase test{Sgd({.schedule = kSchedule}), kSchedule, {{"w", {DType::kF32, {1024, 1024}}}}};
  std::mt19937 random(3);
  std::uniform_real_distribution<double> uniform(0.1, 1.0);
  Values values;
  for (int i = 0; i < 1024 * 1024; ++i) values.push_back(Rounded(uniform(random), DType::kF32));
  test.initial = {values};
  test.grads = {{values}};
  const double norm = Norm({values});
  EXPECT_NEAR(RunOptim(pjrt::SharedCpuClient(), test)[0].grad_norm, norm, 1e-6 * norm);
}

struct ScheduleRow {
  const char* name;
  Schedule schedule;
};
void PrintTo(const ScheduleRow& row, std::ostream* out) { *out << row.name; }

class ScheduleTest : public ::testing::TestWithParam<ScheduleRow> {};

TEST_P(ScheduleTest, FollowsTransformers) {
  const Schedule& schedule = GetParam().schedule;
  OptimCase test{Sgd({.schedule = schedule}), schedule, {{"w", {DType::kF32, {}}}}, {{1}}};
  test.grads.assign(1003, {{1}});
  const std::vector<OptimStep> steps = RunOptim(pjrt::SharedCpuClient(), test);
  for (size_t k = 0; k < steps.size(); ++k) {
    const double rate = RateOf(schedule, k);
    EXPECT_NEAR(steps[k].learning_rate, rate, 1e-6 * rate) << "step " << k;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, ScheduleTest,
    ::testing::Values(ScheduleRow{"constant", {ScheduleKind::kConstant, 1e-3, 10}},
                      ScheduleRow{"constant_with_warmup",
                                  {ScheduleKind::kConstantWithWarmup, 1e-3, 10}},
                      ScheduleRow{"linear", {ScheduleKind::kLinear, 2e-4, 30, 1000}},
                      ScheduleRow{"cosine", {ScheduleKind::kCosine, 2e-4, 30, 1000}},
                      ScheduleRow{"linear_no_warmup", {ScheduleKind::kLinear, 2e-4, 0, 1000}},
                      ScheduleRow{"cosine_no_warmup", {ScheduleKind::kCosine, 2e-4, 0, 1000}},
                      ScheduleRow{"linear_all_warmup", {ScheduleKind::kLinear, 2e-4, 1000, 1000}},
                      ScheduleRow{"cosine_all_warmup", {ScheduleKind::kCosine, 2e-4, 1000, 1000}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace sophia::optim
