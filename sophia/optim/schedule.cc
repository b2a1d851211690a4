#include "sophia/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "sophia/base/error.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"

namespace sophia::optim {
namespace {

// f32[] each.
struct Numbers {
  Tensor peak, warmup, total;
};

// The share of the peak rate after the warm-up. The half cosine (1 + cos(pi p)) / 2 of progress p
// is written as sin^2(pi (1 - p) / 2), which keeps its digits near the end.
Tensor FactorAfterWarmup(ScheduleKind kind, const Numbers& numbers, const Tensor& step) {
  const Tensor span = Max(numbers.total - numbers.warmup, 1.0);
  if (kind == ScheduleKind::kLinear) return Max((numbers.total - step) / span, 0.0);
  if (kind == ScheduleKind::kCosine) {
    const Tensor root = Sin((numbers.warmup + span - step) / span * (0.5 * std::numbers::pi));
    return root * root;
  }
  return FullLike(step, 1);
}

Tensor RateOf(ScheduleKind kind, const Numbers& numbers, const Tensor& step) {
  const Tensor count = Convert(step, DType::kF32);
  Tensor factor = FactorAfterWarmup(kind, numbers, count);
  if (kind != ScheduleKind::kConstant) {
    factor = Select(Lt(count, numbers.warmup), count / Max(numbers.warmup, 1.0), factor);
  }
  return factor * numbers.peak;
}

}  // namespace

ScheduleKind ScheduleKindFromName(std::string_view name) {
  const auto* found = std::find(kScheduleNames.begin(), kScheduleNames.end(), name);
  if (found == kScheduleNames.end()) {
    Fail("schedule", "expected one of {}, got '{}'", fmt::join(kScheduleNames, ", "), name);
  }
  return static_cast<ScheduleKind>(found - kScheduleNames.begin());
}

void Validate(const Schedule& schedule) {
  if (!(schedule.learning_rate >= 0) || !std::isfinite(schedule.learning_rate)) {
    Fail("schedule", "expected a learning rate of at least 0, got {}", schedule.learning_rate);
  }
  if (schedule.warmup_steps < 0) {
    Fail("schedule", "expected at least 0 warm-up steps, got {}", schedule.warmup_steps);
  }
  const bool falls = schedule.kind == ScheduleKind::kLinear ||  //
                     schedule.kind == ScheduleKind::kCosine;
  if (falls && schedule.total_steps <= 0) {
    Fail("schedule", "expected the total steps of a {} schedule, got {}", Name(schedule.kind),
         schedule.total_steps);
  }
}

std::array<float, 3> NumbersOf(const Schedule& schedule) {
  return {static_cast<float>(schedule.learning_rate), static_cast<float>(schedule.warmup_steps),
          static_cast<float>(schedule.total_steps)};
}

Tensor LearningRate(const Schedule& schedule, const Tensor& step) {
  Validate(schedule);
  const auto scalar = [](auto value) { return Scalar(DType::kF32, static_cast<double>(value)); };
  return RateOf(
      schedule.kind,
      {scalar(schedule.learning_rate), scalar(schedule.warmup_steps), scalar(schedule.total_steps)},
      step);
}

Tensor LearningRate(ScheduleKind kind, const Tensor& numbers, const Tensor& step) {
  const auto at = [&](int64_t i) { return Reshape(SliceAxis(numbers, 0, i, i + 1), {}); };
  return RateOf(kind, {at(0), at(1), at(2)}, step);
}

}  // namespace sophia::optim
