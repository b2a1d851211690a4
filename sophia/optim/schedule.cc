#include "sophia/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "sophia/base/error.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::optim {
namespace {

// The operations of Factor() on host numbers and on tensors that are not found by ADL.
double Sin(double x) { return std::sin(x); }
double Max(double a, double b) { return std::max(a, b); }
double Like(double /*like*/, double value) { return value; }
Tensor Like(const Tensor& like, double value) { return FullLike(like, value); }
double IfBelow(double x, double limit, double then, double otherwise) {
  return x < limit ? then : otherwise;
}
Tensor IfBelow(const Tensor& x, double limit, const Tensor& then, const Tensor& otherwise) {
  return Select(Lt(x, limit), then, otherwise);
}

// The share of the peak rate after the warm-up. The half cosine (1 + cos(pi p)) / 2 of progress p
// is written as sin^2(pi (1 - p) / 2), which keeps its digits near the end.
template <typename Number>
Number FactorAfterWarmup(const Schedule& schedule, const Number& step) {
  const auto warmup = static_cast<double>(schedule.warmup_steps);
  const auto total = static_cast<double>(schedule.total_steps);
  const double span = std::max(1.0, total - warmup);
  if (schedule.kind == ScheduleKind::kLinear) return Max((total - step) / span, 0.0);
  if (schedule.kind == ScheduleKind::kCosine) {
    const Number root = Sin((warmup + span - step) / span * (0.5 * std::numbers::pi));
    return root * root;
  }
  return Like(step, 1);
}

// The rate of a step counted in Number, double or an f32 tensor.
template <typename Number>
Number Rate(const Schedule& schedule, const Number& step) {
  Number factor = FactorAfterWarmup(schedule, step);
  if (schedule.kind != ScheduleKind::kConstant && schedule.warmup_steps > 0) {
    const auto warmup = static_cast<double>(schedule.warmup_steps);
    factor = IfBelow(step, warmup, step / warmup, factor);
  }
  return factor * schedule.learning_rate;
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

}  // namespace

ScheduleKind ScheduleKindFromName(std::string_view name) {
  const auto* found = std::find(kScheduleNames.begin(), kScheduleNames.end(), name);
  if (found == kScheduleNames.end()) {
    Fail("schedule", "expected one of {}, got '{}'", fmt::join(kScheduleNames, ", "), name);
  }
  return static_cast<ScheduleKind>(found - kScheduleNames.begin());
}

Tensor LearningRate(const Schedule& schedule, const Tensor& step) {
  Validate(schedule);
  return Rate(schedule, Convert(step, DType::kF32));
}

double LearningRateAt(const Schedule& schedule, int64_t step) {
  Validate(schedule);
  return Rate(schedule, static_cast<double>(step));
}

}  // namespace sophia::optim
