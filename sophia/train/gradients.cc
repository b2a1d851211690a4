#include "sophia/train/gradients.h"

#include <algorithm>
#include <utility>

#include "sophia/autodiff/autodiff.h"
#include "sophia/base/error.h"
#include "sophia/base/rounding.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/kernels/random.h"
#include "sophia/nn/isomorphism.h"

namespace sophia::train {
namespace {

// Streams of a step's seed below those of dropout.
Tensor LabelKey(const Tensor& seed) { return kernels::DropoutKey(seed, Scalar(DType::kS32, -1)); }
Tensor DirectionKey(const Tensor& seed, size_t parameter) {
  return kernels::DropoutKey(seed, Scalar(DType::kS32, -2.0 - static_cast<double>(parameter)));
}

// Plain ops while it lives.
class PlainOps {
 public:
  explicit PlainOps(nn::ParamPolicy& policy) : policy_(policy), kernels_(policy.kernels()) {
    policy_.set_kernels({});
  }
  ~PlainOps() { policy_.set_kernels(kernels_); }
  PlainOps(const PlainOps&) = delete;
  PlainOps& operator=(const PlainOps&) = delete;

 private:
  nn::ParamPolicy& policy_;
  kernels::KernelTarget kernels_;
};

}  // namespace

std::vector<Tensor> StepData::Arrays() const {
  std::vector<Tensor> arrays = {ids, positions, labels};
  if (segments.defined()) arrays.insert(arrays.end(), {segments, places});
  return arrays;
}

StepData StepData::Of(std::span<const Tensor> arrays, const Tensor& seed) {
  StepData data{{.ids = arrays[0], .positions = arrays[1], .labels = arrays[2]}, seed};
  if (arrays.size() > 3) {
    data.segments = arrays[3];
    data.places = arrays[4];
  }
  return data;
}

StepGradients::StepGradients(const models::ModelPlan& plan, GradientOptions options,
                             std::vector<Tensor> parameters, const StepData& data,
                             const Tensor& scale)
    : plan_(plan),
      options_(std::move(options)),
      parameters_(std::move(parameters)),
      data_(data),
      scale_(scale) {}

LossAndGrads StepGradients::OfLoss() const {
  return Accumulate([&](const StepData& micro) {
    return Gradient([&](const StepData& one) { return Loss(one); }, micro);
  });
}

std::vector<Tensor> StepGradients::Curvature(optim::Curvature kind) const {
  if (kind == optim::Curvature::kHutchinson) {
    const std::vector<Tensor> directions = RandomDirections(data_.seed, parameters_);
    const PlainOps plain(*plan_.policy);
    std::vector<Tensor> estimate =
        Accumulate([&](const StepData& micro) { return HessianProduct(directions, micro); }).grads;
    for (size_t i = 0; i < estimate.size(); ++i) {
      estimate[i] = Convert(estimate[i], DType::kF32) * directions[i];
    }
    return estimate;
  }
  SOPHIA_CHECK(kind == optim::Curvature::kGaussNewtonBartlett);
  const LossAndGrads sampled = Accumulate([&](const StepData& micro) {
    return Gradient([&](const StepData& one) { return SampledLoss(one); }, micro);
  });
  std::vector<Tensor> estimate;
  for (const Tensor& grad : optim::InF32(sampled.grads)) estimate.push_back(grad * grad / scale_);
  return estimate;
}

sophia::Loss StepGradients::Loss(const StepData& micro) const {
  if (options_.isomorphism) return LossBesideTeacher(micro);
  return {LanguageLoss(RunWithDropout(micro).rows, micro.labels)};
}

MicroResult StepGradients::RunWithDropout(const StepData& micro, const Tensor& probes) const {
  plan_.table->set_dropout_seed(micro.seed);
  MicroResult result = RunMicro(plan_, options_.shape, micro, probes);
  plan_.table->set_dropout_seed({});
  return result;
}

Tensor StepGradients::LanguageLoss(const Tensor& rows, const Tensor& labels) const {
  return Sum(plan_.model->TokenLosses(rows, labels, plan_.policy->kernels(),
                                      options_.policy.loss_chunk)) *
         scale_;
}

Tensor StepGradients::TeacherStates(const StepData& micro, const Tensor& probes) const {
  const Tensor states = RunMicro(*options_.teacher, options_.shape, micro, probes).states;
  return StopGradient(nn::AtTheSameDepth(states, plan_.model->sizes().layers));
}

sophia::Loss StepGradients::LossBesideTeacher(const StepData& micro) const {
  const IsomorphismTerm& term = *options_.isomorphism;
  const Probes probes = ProbesOf(options_.shape, micro, term.tokens);
  const Tensor target = TeacherStates(micro, probes.places);
  const MicroResult result = RunWithDropout(micro, probes.places);
  const nn::IsomorphismMeasures measures =
      nn::MeasureIsomorphism(result.states, target, probes.counted);
  const double share = 1.0 / static_cast<double>(options_.shape.accumulation);
  // The last micro-batch of an epoch may have nothing to compare.
  const Tensor compares = Ge(Sum(probes.counted), static_cast<double>(nn::kLeastTokens));
  const Tensor cka = Select(compares, Mean(measures.cka, {0}), 1.0) * share;
  const Tensor distance = Select(compares, Mean(measures.distance_loss, {0}), 0.0) * share;
  sophia::Loss loss{.value = (share - cka + distance) * term.weight, .aux = {cka, distance}};
  if (term.language_weight > 0) {
    const Tensor language = LanguageLoss(result.rows, micro.labels);
    loss.value = loss.value + language * term.language_weight;
    loss.aux.push_back(language);
  }
  return loss;
}

sophia::Loss StepGradients::SampledLoss(const StepData& micro) const {
  const Tensor rows = RunWithDropout(micro).rows;
  const Tensor drawn = SampleLabels(*plan_.model, StopGradient(rows), LabelKey(micro.seed),
                                    options_.policy.loss_chunk);
  const Tensor labels = Select(Ge(micro.labels, 0.0), drawn, micro.labels);
  return {LanguageLoss(rows, labels)};
}

LossAndGrads StepGradients::Gradient(const LossOf& loss, const StepData& micro) const {
  const ValueAndGradResult result = ValueAndGrad(
      [&](std::span<const Tensor> values) -> sophia::Loss {
        for (size_t i = 0; i < values.size(); ++i)
          plan_.table->Set(options_.trainable[i], values[i]);
        return loss(micro);
      },
      parameters_);
  return {result.value, result.grads, result.aux};
}

LossAndGrads StepGradients::HessianProduct(const std::vector<Tensor>& directions,
                                           const StepData& micro) const {
  const ValueAndGradResult result = ValueAndGrad(
      [&](std::span<const Tensor> values) -> sophia::Loss {
        StepGradients inner = *this;
        inner.parameters_.assign(values.begin(), values.end());
        const LossAndGrads first =
            inner.Gradient([&](const StepData& one) { return Loss(one); }, micro);
        Tensor product = Scalar(DType::kF32, 0);
        for (size_t i = 0; i < directions.size(); ++i) {
          product = product + Sum(Convert(first.grads[i], DType::kF32) * directions[i]);
        }
        return {product};
      },
      parameters_);
  return {result.value, result.grads};
}

LossAndGrads StepGradients::Accumulate(const Differentiator& differentiate) const {
  if (options_.shape.accumulation == 1) {
    std::vector<Tensor> arrays = data_.Arrays();
    for (Tensor& array : arrays) array = Squeeze(array, 0);
    return differentiate(StepData::Of(arrays, data_.seed));
  }
  std::vector<Tensor> init = {Scalar(DType::kF32, 0), data_.seed};
  for (const Tensor& parameter : parameters_) init.push_back(ZerosLike(parameter));
  const size_t parts = options_.isomorphism ? PartNames(*options_.isomorphism).size() : 0;
  for (size_t i = 0; i < parts; ++i) init.push_back(Scalar(DType::kF32, 0));
  const ScanResult result = Scan(
      [&](std::span<const Tensor> carry, std::span<const Tensor> xs) -> ScanStep {
        const LossAndGrads one = differentiate(StepData::Of(xs, carry[1]));
        ScanStep step{{carry[0] + one.loss, carry[1] + 1.0}};
        for (size_t i = 0; i < one.grads.size(); ++i) {
          step.carry.push_back(carry[i + 2] + one.grads[i]);
        }
        for (size_t i = 0; i < parts; ++i) {
          const Tensor& sum = carry[2 + one.grads.size() + i];
          step.carry.push_back(i < one.parts.size() ? sum + one.parts[i] : sum);
        }
        return step;
      },
      init, data_.Arrays());
  const auto first_part = result.carry.begin() + 2 + static_cast<int64_t>(parameters_.size());
  return {
      result.carry[0], {result.carry.begin() + 2, first_part}, {first_part, result.carry.end()}};
}

std::vector<Tensor> RandomDirections(const Tensor& seed, const std::vector<Tensor>& parameters) {
  std::vector<Tensor> directions;
  for (const Tensor& parameter : parameters) {
    const Tensor key = DirectionKey(seed, directions.size());
    directions.push_back(kernels::RandomSigns(key, parameter.dims()));
  }
  return directions;
}

Tensor SampleLabels(const models::CausalLm& model, const Tensor& rows, const Tensor& key,
                    int64_t chunk) {
  const int64_t count = rows.dim(0);
  const int64_t size = std::min(chunk, count);
  const int64_t chunks = CeilDiv(count, size);
  const Tensor padded = PadEnd(rows, 0, chunks * size);
  const Shape logits{DType::kS32, {size, model.sizes().vocab}};
  const Tensor first = Iota({DType::kS32, {chunks}}, 0) * static_cast<double>(size);
  const ScanResult drawn = Scan(
      [&](std::span<const Tensor>, std::span<const Tensor> x) -> ScanStep {
        // The largest of the logits with Gumbel noise follows their softmax.
        const Tensor noise = kernels::GumbelNoise(key, Iota(logits, 0) + x[1], Iota(logits, 1));
        return {{}, {ArgMax(model.Logits(x[0]) + noise, 1)}};
      },
      {}, {Reshape(padded, {chunks, size, rows.dim(1)}), first});
  return SliceAxis(Reshape(drawn.ys[0], {chunks * size}), 0, 0, count);
}

}  // namespace sophia::train
