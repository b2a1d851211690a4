#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "sophia/graph/tensor.h"

namespace sophia::optim {

enum class ScheduleKind : uint8_t { kConstant, kConstantWithWarmup, kLinear, kCosine };

// As transformers' get_scheduler names them, by kind.
inline constexpr std::array<std::string_view, 4> kScheduleNames = {
    "constant", "constant_with_warmup", "linear", "cosine"};

// Throws Error listing the names it knows.
ScheduleKind ScheduleKindFromName(std::string_view name);
inline std::string_view Name(ScheduleKind kind) {
  return kScheduleNames[static_cast<size_t>(kind)];
}

// The learning rate of every update, counted from 0, as transformers' get_scheduler gives it: the
// first warmup_steps rise linearly from 0; then it stays, or falls to 0 at total_steps along a line
// or a half cosine. kConstant has no warm-up, whatever warmup_steps says.
struct Schedule {
  ScheduleKind kind = ScheduleKind::kConstant;
  double learning_rate = 0;  // the peak
  int64_t warmup_steps = 0;
  int64_t total_steps = 0;  // of kLinear and kCosine
};

// Throws Error on a negative rate or warm-up, or a falling schedule without total_steps.
void Validate(const Schedule& schedule);

// The rate of update `step` (s32[], below 2^24): f32[]. Throws as Validate().
Tensor LearningRate(const Schedule& schedule, const Tensor& step);

// The numbers of a schedule, f32 [3], for a program that serves schedules of one kind alike.
std::array<float, 3> NumbersOf(const Schedule& schedule);
Tensor LearningRate(ScheduleKind kind, const Tensor& numbers, const Tensor& step);

}  // namespace sophia::optim
