#include "sophia/train/step.h"

#include "sophia/autodiff/autodiff.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/train/token_losses.h"

namespace sophia::train {
namespace {

// A step's data, each array with the axis A of micro-batches in front, or a micro-batch's.
struct StepData : MicroBatch {
  Tensor seed;  // u64 []

  // All but the seed, as a scan walks over them.
  std::vector<Tensor> Arrays() const {
    std::vector<Tensor> arrays = {ids, positions, labels};
    if (segments.defined()) arrays.insert(arrays.end(), {segments, places});
    return arrays;
  }
  static StepData Of(std::span<const Tensor> arrays, const Tensor& seed) {
    StepData data{{.ids = arrays[0], .positions = arrays[1], .labels = arrays[2]}, seed};
    if (arrays.size() > 3) {
      data.segments = arrays[3];
      data.places = arrays[4];
    }
    return data;
  }
};

// Sum of the losses of a micro-batch, times `scale`.
Tensor ScaledLoss(const models::ModelPlan& plan, const StepOptions& options, const StepData& micro,
                  const Tensor& scale) {
  plan.table->set_dropout_seed(micro.seed);
  const Tensor losses = TokenLosses(plan, options.shape, micro, options.policy.loss_chunk);
  plan.table->set_dropout_seed({});
  return Sum(losses) * scale;
}

struct LossAndGrads {
  Tensor loss;
  std::vector<Tensor> grads;
};

// Loss and gradients of one micro-batch; parameters are bound to the table while tracing.
LossAndGrads Differentiate(const models::ModelPlan& plan, const StepOptions& options,
                           const std::vector<size_t>& trainable,
                           const std::vector<Tensor>& parameters, const StepData& micro,
                           const Tensor& scale) {
  const ValueAndGradResult result = ValueAndGrad(
      [&](std::span<const Tensor> values) -> Loss {
        for (size_t i = 0; i < trainable.size(); ++i) plan.table->Set(trainable[i], values[i]);
        return {ScaledLoss(plan, options, micro, scale)};
      },
      parameters);
  return {result.value, result.grads};
}

// Runs the micro-batches one after another, summing losses and gradients.
LossAndGrads Accumulate(const models::ModelPlan& plan, const StepOptions& options,
                        const std::vector<size_t>& trainable, const std::vector<Tensor>& parameters,
                        const StepData& all, const Tensor& scale) {
  std::vector<Tensor> init = {Scalar(DType::kF32, 0), all.seed};
  for (const Tensor& parameter : parameters) init.push_back(ZerosLike(parameter));
  const ScanResult result = Scan(
      [&](std::span<const Tensor> carry, std::span<const Tensor> xs) -> ScanStep {
        const StepData micro = StepData::Of(xs, carry[1]);
        const LossAndGrads one = Differentiate(plan, options, trainable, parameters, micro, scale);
        ScanStep step{{carry[0] + one.loss, carry[1] + 1.0}};
        for (size_t i = 0; i < one.grads.size(); ++i) {
          step.carry.push_back(carry[i + 2] + one.grads[i]);
        }
        return step;
      },
      init, all.Arrays());
  return {result.carry[0], {result.carry.begin() + 2, result.carry.end()}};
}

}  // namespace

StepProgram TraceStep(const models::ModelPlan& plan, const StepOptions& options) {
  StepProgram program{.graph = std::make_unique<Graph>()};
  Graph& graph = *program.graph;
  graph.set_mesh(options.mesh);
  const BatchShape& shape = options.shape;
  const auto add_input = [&](const Shape& input, const std::string& name) {
    return graph.AddInput(input, {.name = name, .sharding = graph.Replicated(input)});
  };
  const std::vector<Tensor> all = models::BindInputs(graph, *plan.table);

  std::vector<size_t> trainable;
  std::vector<optim::NamedShape> named;
  optim::UpdateArgs update;
  for (size_t i = 0; i < all.size(); ++i) {
    const nn::ParamSpec& spec = plan.specs()[i];
    if (!spec.trainable) continue;
    trainable.push_back(i);
    named.push_back({spec.path, spec.shape()});
    update.params.push_back(all[i]);
  }
  program.slots = options.optimizer.slots(named);
  for (const optim::Slot& slot : program.slots) {
    update.state.push_back(add_input(slot.shape, slot.name));
  }
  const int first_state = static_cast<int>(all.size());
  update.step = add_input({DType::kS32, {}}, "step");
  const Tensor seed = add_input({DType::kU64, {}}, "seed");
  const Shape ids{DType::kS32, {shape.accumulation, shape.batch, shape.seq}};
  const Shape rows{DType::kS32, {shape.accumulation, shape.loss_positions}};
  const auto add_tokens = [&](const std::string& name) {
    InputOptions of_tokens{.name = name};
    if (!options.mesh.empty()) of_tokens.sharding = Sharding{.axes = {{}, {"data"}, {}}};
    return graph.AddInput(ids, of_tokens);
  };
  StepData batch;
  batch.ids = add_tokens("ids");
  if (shape.packs) {
    batch.segments = add_tokens("segments");
    batch.places = add_tokens("places");
  }
  batch.positions = add_input(rows, "positions");
  batch.labels = add_input(rows, "labels");

  const Tracing tracing(graph);
  plan.policy->set_activations(options.policy.activations);
  const Tensor trained = Convert(Ge(batch.labels, 0.0), DType::kF32);
  const Tensor scale = 1.0 / Max(Sum(trained), 1.0);
  // Dropout draws from a stream of its own for each step and micro-batch.
  batch.seed = seed + Convert(update.step, DType::kU64) * static_cast<double>(shape.accumulation);
  LossAndGrads result;
  if (shape.accumulation == 1) {
    std::vector<Tensor> arrays = batch.Arrays();
    for (Tensor& array : arrays) array = Squeeze(array, 0);
    const StepData micro = StepData::Of(arrays, batch.seed);
    result = Differentiate(plan, options, trainable, update.params, micro, scale);
  } else {
    result = Accumulate(plan, options, trainable, update.params, batch, scale);
  }
  update.grads = result.grads;
  const optim::Applied next = optim::Apply(options.optimizer, update);

  const auto add_output = [&](const Tensor& value, const std::string& name,
                              std::optional<int> aliases = std::nullopt) {
    graph.AddOutput(
        value,
        {.name = name, .sharding = graph.Replicated(value.shape()), .aliases_input = aliases});
  };
  for (size_t i = 0; i < trainable.size(); ++i) {
    add_output(next.params[i], named[i].name, static_cast<int>(trainable[i]));
  }
  for (size_t i = 0; i < next.state.size(); ++i) {
    add_output(next.state[i], program.slots[i].name, first_state + static_cast<int>(i));
  }
  add_output(update.step + 1.0, "step", first_state + static_cast<int>(program.slots.size()));
  add_output(result.loss, "loss");
  add_output(optim::GlobalNorm(update.grads), "grad_norm");
  add_output(optim::LearningRate(options.schedule, update.step), "learning_rate");
  for (const std::string& group : options.norm_groups) {
    std::vector<Tensor> members;
    for (size_t i = 0; i < named.size(); ++i) {
      if (named[i].name.find(group) != std::string::npos) members.push_back(update.grads[i]);
    }
    add_output(optim::GlobalNorm(members), "grad_norm of " + group);
  }
  return program;
}

}  // namespace sophia::train
