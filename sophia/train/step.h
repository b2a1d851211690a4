#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sophia/models/model_plan.h"
#include "sophia/optim/schedule.h"
#include "sophia/optim/transform.h"
#include "sophia/train/batches.h"
#include "sophia/train/isomorphism_term.h"
#include "sophia/train/memory_policy.h"
#include "sophia/train/teacher.h"

namespace sophia::train {

struct StepOptions {
  BatchShape shape;
  optim::Transform optimizer;
  optim::ScheduleKind schedule = optim::ScheduleKind::kConstant;
  // LoRA+ (https://arxiv.org/abs/2402.12354): times the learning rate of B and, as PEFT's
  // create_loraplus_optimizer has it, of vectors.
  double loraplus_lr_ratio = 1;
  MemoryPolicy policy = {};
  std::optional<IsomorphismTerm> isomorphism = std::nullopt;
  const Teacher* teacher = nullptr;  // of `isomorphism`
  // With an axis "data": the sequences of a micro-batch are split over it, all else is replicated.
  Mesh mesh = {};
  // Extra outputs: the gradient norm over the parameters whose name contains each text.
  std::vector<std::string> norm_groups = {};
};

// One optimiser step as a program.
// inputs:  parameters (ParamTable order), optimiser state (slot order), step s32[], seed u64[],
//          schedule f32[3] (optim::NumbersOf), ids s32[A, B, S], segments and places likewise if
//          the shape packs, positions s32[A, N], labels s32[A, N]; with `isomorphism` the
//          teacher's own parameters
// outputs: trainable parameters, optimiser state and step, each in the place of its input, then
//          loss f32[], grad_norm f32[] before clipping, learning_rate f32[], then one norm for each
//          of norm_groups, then PartNames() of `isomorphism`
// loss is the mean over all trained tokens of the step. Frozen parameters have no output: nothing
// can change them.
struct StepProgram {
  std::unique_ptr<Graph> graph;
  std::vector<optim::Slot> slots;
  int64_t teacher_bytes = 0;  // of the teacher's own parameters
};
StepProgram TraceStep(const models::ModelPlan& plan, const StepOptions& options);

}  // namespace sophia::train
