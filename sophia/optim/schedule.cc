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

// The share of the peak rate after the warm-up. The half cosine (1 + cos(pi p)) / 2 of progress p
// is written as sin^2(pi (1 - p) / 2), which keeps its digits near the end.
Tensor FactorAfterWarmup(const Schedule& schedule, const Tensor& step) {
  const auto warmup = static_cast<double>(schedule.warmup_steps);
  const auto total = static_cast<double>(schedule.total_steps);
  const double span = std::max(1.0, total - warmup);
  if (schedule.kind == ScheduleKind::kLinear) return Max((total - step) / span, 0.0);
  if (schedule.kind == ScheduleKind::kCosine) {
    const Tensor root = Sin((warmup + span - step) / span * (0.5 * std::numbers::pi));
    return root * root;
  }
  return FullLike(step, 1);
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
  const Tensor count = Convert(step, DType::kF32);
  Tensor factor = FactorAfterWarmup(schedule, count);
  if (schedule.kind != ScheduleKind::kConstant && schedule.warmup_steps > 0) {
    const auto warmup = static_cast<double>(schedule.warmup_steps);
    factor = Select(Lt(count, warmup), count / warmup, factor);
  }
  return factor * schedule.learning_rate;
}

}  // namespace sophia::optim
