#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sophia/models/model_files.h"
#include "sophia/models/model_plan.h"
#include "sophia/runtime/program.h"
#include "sophia/train/batches.h"
#include "sophia/train/checkpoint.h"
#include "sophia/train/evaluator.h"
#include "sophia/train/options.h"
#include "sophia/train/step.h"
#include "sophia/train/training_data.h"

namespace sophia::train {

// What one optimiser step reports.
struct StepMetrics {
  int64_t step = 0;      // from 1
  double epoch = 0;      // passes through the data so far
  double loss = 0;       // mean over the step's trained tokens
  double grad_norm = 0;  // before clipping
  double learning_rate = 0;
  int64_t tokens = 0;  // without padding
  double seconds = 0;
  double data_wait_seconds = 0;     // before the step, for its rows
  std::vector<double> group_norms;  // of StepOptions::norm_groups
  // Of an objective beside or in place of the rows' loss: see PartNames().
  std::vector<std::pair<std::string, double>> parts;

  double tokens_per_second() const {
    return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
  }
};

// A fine-tuning run: model, data and the compiled step, ready to be stepped.
class TrainingRun {
 public:
  // Checks the adapter, reads data, compiles the step, then loads the weights. Throws Error for bad
  // input. With `checkpoint` the run goes on from there; it must be of a run like this one.
  TrainingRun(TrainOptions options, TrainEnvironment environment,
              std::vector<std::string> norm_groups = {}, const Checkpoint* checkpoint = nullptr);

  int64_t total_steps() const { return total_steps_; }
  int64_t done() const { return done_; }
  const TrainOptions& options() const { return options_; }
  const RunIdentity& identity() const { return identity_; }
  const std::vector<optim::Slot>& slots() const { return slots_; }
  const TrainingData& data() const { return data_; }
  const BatchShape& shape() const { return data_.shape; }
  const Program& program() const { return *program_; }
  const std::vector<nn::ParamSpec>& specs() const { return plan_->specs(); }
  const std::vector<pjrt::Buffer>& parameters() const { return parameters_; }
  pjrt::Device device() const { return environment_.device(); }
  double load_seconds() const { return load_seconds_; }
  // Passes through the data so far.
  double epochs() const { return loader_->epochs(); }
  // Operations of matrix products and kernels.
  double flops_per_step() const { return flops_per_step_; }

  // The next batch of the data.
  Batch NextBatch() { return loader_->Next(); }
  // One optimiser step on `batch`.
  StepMetrics Step(const Batch& batch);
  // The loss of the present adapter on the rows to evaluate on, of which there must be some.
  EvaluationResult Evaluate();
  // The state after the last step.
  RunState State() const;
  // Replaces the adapter by a folder's.
  void LoadAdapter(const std::filesystem::path& folder);
  void SaveAdapter(const std::filesystem::path& folder) const;
  // The same of a state of this run.
  void SaveAdapter(const std::filesystem::path& folder, const HostArrays& trainable) const;

 private:
  void Compile();
  // Compiles with one policy after another until the step fits. Throws Error when none does.
  void ChoosePolicy();
  void CompileEvaluation();
  StepOptions StepOptionsOfRun() const;  // but for the policy
  // Whether the step fits, as far as the environment knows.
  bool CompileWith(const MemoryPolicy& policy);
  void LoadWeights(const Checkpoint* checkpoint);
  // The first values of adapter and magnitudes, and what PiSSA makes of the base weights.
  void BeginAdapter(const Checkpoint* checkpoint);

  TrainOptions options_;
  TrainEnvironment environment_;
  std::vector<std::string> norm_groups_;
  models::ModelFiles files_;
  std::unique_ptr<models::ModelPlan> plan_;
  TrainingData data_;
  RunIdentity identity_;
  std::unique_ptr<BatchLoader> loader_;
  int64_t total_steps_ = 0;
  int64_t done_ = 0;
  std::vector<optim::Slot> slots_;
  std::unique_ptr<Program> program_;
  std::optional<Evaluator> evaluator_;
  std::vector<pjrt::Buffer> parameters_;
  std::vector<pjrt::Buffer> state_;      // optimiser state, then the step
  std::vector<pjrt::Buffer> constants_;  // seed and the schedule's numbers
  std::optional<Teacher> teacher_;       // of the objective, if it has one
  std::vector<pjrt::Buffer> teacher_parameters_;
  HostArrays initial_;  // PiSSA's first factors
  double load_seconds_ = 0;
  double flops_per_step_ = 0;
};

}  // namespace sophia::train
