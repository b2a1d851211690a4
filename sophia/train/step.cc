#include "sophia/train/step.h"

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/train/gradients.h"

namespace sophia::train {
namespace {

// Gives the teacher's parameters their values in the graph: the student's, or inputs, whose bytes
// it returns.
int64_t BindTeacher(Graph& graph, const models::ModelPlan& student, const Teacher& teacher) {
  const models::ModelPlan& plan = teacher.plan();
  const nn::ActivationPolicy& activations = student.policy->activations();
  plan.table->set_tables_on_host(activations.offloads_tables);
  std::vector<Tensor> values;
  int64_t bytes = 0;
  for (size_t i = 0; i < plan.specs().size(); ++i) {
    const nn::ParamSpec& spec = plan.specs()[i];
    if (const std::optional<size_t> shared = teacher.shared()[i]) {
      values.push_back(student.table->bound(*shared));
      continue;
    }
    values.push_back(models::AddParameter(graph, plan, spec, "teacher/"));
    if (!plan.table->IsOnHost(spec)) bytes += spec.shape().bytes();
  }
  plan.table->Bind(values);
  plan.policy->set_kernels(student.policy->kernels());
  // A forward pass keeps nothing, so what is left is how much is computed at a time.
  const int64_t heads = activations.kv_heads;
  const bool divides = heads > 0 && plan.model->sizes().kv_heads % heads == 0;
  plan.policy->set_activations({.tile = activations.tile, .kv_heads = divides ? heads : 0});
  return bytes;
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
  plan.policy->set_activations(options.policy.activations);
  const std::vector<Tensor> all = models::BindInputs(graph, plan);

  std::vector<size_t> trainable;
  std::vector<optim::NamedShape> named;
  optim::UpdateArgs update;
  for (size_t i = 0; i < all.size(); ++i) {
    const nn::ParamSpec& spec = plan.specs()[i];
    if (!spec.trainable) continue;
    trainable.push_back(i);
    const bool is_fast = spec.dims.size() == 1 || spec.path.find("lora_B") != std::string::npos;
    named.push_back({.name = spec.path,
                     .shape = spec.shape(),
                     .stacked = spec.layers > 0,
                     .rate_factor = is_fast ? options.loraplus_lr_ratio : 1});
    update.params.push_back(all[i]);
  }
  program.slots = options.optimizer.slots(named);
  for (const optim::Slot& slot : program.slots) {
    update.state.push_back(add_input(slot.shape, slot.name));
  }
  const int first_state = static_cast<int>(all.size());
  update.step = add_input({DType::kS32, {}}, "step");
  const Tensor seed = add_input({DType::kU64, {}}, "seed");
  const Tensor schedule = add_input({DType::kF32, {3}}, "schedule");
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
  if (options.isomorphism) program.teacher_bytes = BindTeacher(graph, plan, *options.teacher);

  const Tracing tracing(graph);
  update.learning_rate = optim::LearningRate(options.schedule, schedule, update.step);
  const Tensor trained = Convert(Ge(batch.labels, 0.0), DType::kF32);
  const Tensor scale = 1.0 / Max(Sum(trained), 1.0);
  // Dropout draws from a stream of its own for each step and micro-batch.
  batch.seed = seed + Convert(update.step, DType::kU64) * static_cast<double>(shape.accumulation);
  const StepGradients gradients(
      plan,
      {.shape = shape,
       .policy = options.policy,
       .trainable = trainable,
       .isomorphism = options.isomorphism,
       .teacher = options.isomorphism ? &options.teacher->plan() : nullptr},
      update.params, batch, scale);
  const LossAndGrads result = gradients.OfLoss();
  update.grads = result.grads;
  update.parameters = named;
  update.curvature = [&] { return gradients.Curvature(options.optimizer.curvature); };
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
  add_output(update.learning_rate, "learning_rate");
  for (const std::string& group : options.norm_groups) {
    std::vector<Tensor> members;
    for (size_t i = 0; i < named.size(); ++i) {
      if (named[i].name.find(group) != std::string::npos) members.push_back(update.grads[i]);
    }
    add_output(optim::GlobalNorm(members), "grad_norm of " + group);
  }
  for (size_t i = 0; i < result.parts.size(); ++i) {
    add_output(result.parts[i], PartNames(*options.isomorphism)[i]);
  }
  return program;
}

}  // namespace sophia::train
