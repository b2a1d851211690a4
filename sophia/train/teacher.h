#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sophia/models/model_files.h"
#include "sophia/models/model_plan.h"
#include "sophia/pjrt/buffer.h"
#include "sophia/train/options.h"

namespace sophia::train {

// The model whose geometry the hidden states of a run take, see IsomorphismObjective::teacher: the
// run's base model, that with an adapter, or another model of the same vocabulary.
class Teacher {
 public:
  // `files` and `student` are the run's. Another model is kept as its files store it, whatever
  // options.quant says. Weights are not needed yet. Throws Error where
  // options.isomorphism names nothing that can teach it.
  Teacher(const TrainOptions& options, const models::ModelFiles& files,
          const models::ModelPlan& student);

  const models::ModelPlan& plan() const { return *plan_; }
  // For each of the plan's parameters, in its order, the frozen one of the student that it is;
  // nullopt: the teacher's own.
  const std::vector<std::optional<size_t>>& shared() const { return shared_; }
  // The parameters of its own, in the plan's order.
  std::vector<pjrt::Buffer> Load(const pjrt::Device& device) const;
  // SHA-256 that tells what a path holds apart; empty where the teacher is no path.
  std::string Fingerprint() const;

 private:
  void BuildOtherModel(const models::ModelFiles& student_files, const models::ModelPlan& student,
                       DType dtype);
  void BuildOnBase(const models::ModelFiles& files, const models::ModelPlan& student,
                   const TrainOptions& options);
  // Whether it is the base model with an adapter from a folder.
  bool IsAdapter() const;

  std::string teacher_;
  uint64_t seed_;
  std::optional<lora::LoraConfig> lora_;     // nullopt: no adapter
  std::optional<models::ModelFiles> files_;  // of another model
  std::unique_ptr<models::ModelPlan> plan_;
  std::vector<std::optional<size_t>> shared_;
};

}  // namespace sophia::train
