#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "sophia/autodiff/autodiff.h"
#include "sophia/models/model_plan.h"
#include "sophia/optim/transform.h"
#include "sophia/train/isomorphism_term.h"
#include "sophia/train/memory_policy.h"
#include "sophia/train/token_losses.h"

namespace sophia::train {

// A step's data, each array with the axis A of micro-batches in front, or a micro-batch's.
struct StepData : MicroBatch {
  Tensor seed;  // u64 []

  // All but the seed, as a scan walks over them.
  std::vector<Tensor> Arrays() const;
  static StepData Of(std::span<const Tensor> arrays, const Tensor& seed);
};

struct LossAndGrads {
  Tensor loss;
  std::vector<Tensor> grads;
  std::vector<Tensor> parts = {};  // of the loss, f32 [] each, in the order of PartNames()
};

struct GradientOptions {
  BatchShape shape;
  MemoryPolicy policy;
  std::vector<size_t> trainable;  // places of the parameters in the model's table
  std::optional<IsomorphismTerm> isomorphism = std::nullopt;
  const models::ModelPlan* teacher = nullptr;  // with it; its table must be bound
};

// Traces what a step differentiates, micro-batch by micro-batch. The model's table must be bound.
class StepGradients {
 public:
  // `scale`: of the sum of the losses, 1 / trained tokens.
  StepGradients(const models::ModelPlan& plan, GradientOptions options,
                std::vector<Tensor> parameters, const StepData& data, const Tensor& scale);

  LossAndGrads OfLoss() const;

  // An estimate of the diagonal of the loss's Hessian, f32 of the parameters' sizes
  // (https://arxiv.org/abs/2305.14342):
  // Hutchinson: u ⊙ Hu with u of random signs, where the paper draws normals: the same expectation
  // with less variance. Hu is the gradient of ⟨∇L, u⟩, traced in plain ops, as kernels have no
  // second derivative.
  // Gauss-Newton-Bartlett: N · ĝ ⊙ ĝ with ĝ the gradient of the loss for labels drawn from the
  // model's own distribution, and N the trained tokens.
  std::vector<Tensor> Curvature(optim::Curvature kind) const;

 private:
  using LossOf = std::function<sophia::Loss(const StepData& micro)>;
  using Differentiator = std::function<LossAndGrads(const StepData& micro)>;

  sophia::Loss Loss(const StepData& micro) const;
  sophia::Loss LossBesideTeacher(const StepData& micro) const;
  sophia::Loss SampledLoss(const StepData& micro) const;
  MicroResult RunWithDropout(const StepData& micro, const Tensor& probes = {}) const;
  // The sum of the losses of rows [N, D], scaled.
  Tensor LanguageLoss(const Tensor& rows, const Tensor& labels) const;
  // The teacher's states at the probes, one for each of the model's layers.
  Tensor TeacherStates(const StepData& micro, const Tensor& probes) const;
  LossAndGrads Gradient(const LossOf& loss, const StepData& micro) const;
  LossAndGrads HessianProduct(const std::vector<Tensor>& directions, const StepData& micro) const;
  // The sums over all micro-batches.
  LossAndGrads Accumulate(const Differentiator& differentiate) const;

  const models::ModelPlan& plan_;
  GradientOptions options_;
  std::vector<Tensor> parameters_;
  StepData data_;
  Tensor scale_;
};

// The signs u of a step's Hutchinson estimate, f32 of the sizes of `parameters`.
std::vector<Tensor> RandomDirections(const Tensor& seed, const std::vector<Tensor>& parameters);

// For each of `rows` [N, D] a label drawn from the model's distribution: s32 [N]. `chunk` rows have
// their logits at a time. `key`: see kernels::DropoutKey.
Tensor SampleLabels(const models::CausalLm& model, const Tensor& rows, const Tensor& key,
                    int64_t chunk);

}  // namespace sophia::train
