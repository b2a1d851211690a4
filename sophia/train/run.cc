#include "sophia/train/run.h"

#include <malloc.h>

#include <chrono>

#include "sophia/base/error.h"
#include "sophia/base/stopwatch.h"
#include "sophia/lora/magnitudes.h"
#include "sophia/lora/peft.h"
#include "sophia/lora/pissa.h"
#include "sophia/models/kernel_choice.h"
#include "sophia/models/weights.h"
#include "sophia/pallas/work_estimate.h"
#include "sophia/train/fingerprint.h"
#include "sophia/train/policy_order.h"
#include "sophia/train/setup.h"
#include "sophia/train/teacher.h"

namespace sophia::train {
namespace {

using Clock = std::chrono::steady_clock;

// All transfers are under way before the first is waited for.
HostArrays ToHost(const std::vector<const pjrt::Buffer*>& buffers) {
  HostArrays arrays;
  std::vector<pjrt::Event> events;
  for (const pjrt::Buffer* buffer : buffers) {
    arrays.emplace_back(static_cast<size_t>(buffer->shape().bytes()));
    events.push_back(buffer->ToHostAsync(arrays.back()));
  }
  for (const pjrt::Event& event : events) event.Await();
  return arrays;
}

std::vector<const pjrt::Buffer*> Trainable(const std::vector<nn::ParamSpec>& specs,
                                           const std::vector<pjrt::Buffer>& parameters) {
  std::vector<const pjrt::Buffer*> trainable;
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].trainable) trainable.push_back(&parameters[i]);
  }
  return trainable;
}

}  // namespace

TrainingRun::TrainingRun(TrainOptions options, TrainEnvironment environment,
                         std::vector<std::string> norm_groups, const Checkpoint* checkpoint)
    : options_(std::move(options)),
      environment_(std::move(environment)),
      norm_groups_(std::move(norm_groups)),
      files_(models::ModelFiles::Open(options_.model)) {
  if (!options_.init_adapter.empty()) {
    options_.lora = lora::ReadAdapterConfig(options_.init_adapter);
  }
  options_.Check();
  plan_ = BuildModel(options_, files_);
  const models::ModelSizes& sizes = plan_->model->sizes();
  if (options_.isomorphism) teacher_.emplace(options_, files_, *plan_);
  data_ = OpenData(options_, EncoderFor(files_, sizes.vocab));
  if (data_.longest > sizes.max_positions) {
    Fail("max_length", "expected rows of at most the model's {} positions, got {} tokens",
         sizes.max_positions, data_.longest);
  }
  if (teacher_ && data_.longest > teacher_->plan().model->sizes().max_positions) {
    Fail("max_length", "expected rows of at most the teacher's {} positions, got {} tokens",
         teacher_->plan().model->sizes().max_positions, data_.longest);
  }
  if (!data_.evaluation) options_.eval.strategy = EvalStrategy::kNo;
  identity_ = {.model_sha256 = Fingerprint(files_),
               .data_sha256 = data_.sha256,
               .evaluation_sha256 = data_.evaluation_sha256,
               .teacher_sha256 = teacher_ ? teacher_->Fingerprint() : "",
               .examples = static_cast<int64_t>(data_.source->size()),
               .options = options_.ToJson()};
  if (checkpoint != nullptr) {
    if (!options_.policy) options_.policy = checkpoint->policy();
    identity_.options = options_.ToJson();
    checkpoint->CheckBelongsTo(identity_);
  }
  loader_ = std::make_unique<BatchLoader>(*data_.source, data_.shape, LoaderOptionsOf(options_));
  total_steps_ =
      options_.max_steps > 0 ? options_.max_steps : loader_->StepsOf(options_.num_train_epochs);
  if (checkpoint != nullptr) {
    loader_->Seek(checkpoint->data());
    done_ = checkpoint->step();
  }
  Compile();
  identity_.options = options_.ToJson();
  LoadWeights(checkpoint);
}

void TrainingRun::Compile() {
  plan_->policy->set_kernels(models::KernelsFor(environment_.device(), options_.kernels));
  if (options_.policy) {
    CompileWith(*options_.policy);
  } else {
    ChoosePolicy();
  }
  if (data_.evaluation) CompileEvaluation();
}

void TrainingRun::ChoosePolicy() {
  const bool has_host = environment_.client->platform_name() != "cpu";
  for (const MemoryPolicy& policy : PoliciesByTime(*plan_, StepOptionsOfRun(), has_host)) {
    options_.policy = policy;
    try {
      if (CompileWith(policy)) return;
    } catch (const pjrt::CallError& error) {
      if (error.code() != pjrt::StatusCode::kResourceExhausted) throw;
    }
  }
  Fail("policy",
       "expected a policy with which the step fits, got none; shorter rows (--max-length) or fewer "
       "of them (--per-device-train-batch-size) take less; `sophia plan --max-length auto` with "
       "these options says the longest that fits");
}

void TrainingRun::CompileEvaluation() {
  evaluator_.emplace(
      *data_.evaluation, *plan_,
      EvaluatorOptions{
          .batch = options_.eval.batch, .packing = options_.packing, .policy = *options_.policy});
  const Program& program = evaluator_->Compile(environment_.device(),
                                               environment_.cache ? &*environment_.cache : nullptr);
  ReleaseCompiler(*environment_.client);
  int64_t state = 0;
  for (const optim::Slot& slot : slots_) state += slot.shape.bytes();
  if (!environment_.on_evaluation_compiled || environment_.on_evaluation_compiled(program, state))
    return;
  Fail("evaluation",
       "expected a program that fits beside the optimiser's state, got one of {} sequences; fewer "
       "(--per-device-eval-batch-size) take less",
       evaluator_->shape().batch);
}

StepOptions TrainingRun::StepOptionsOfRun() const {
  StepOptions step_options = StepOptionsOf(options_, data_.shape, plan_->policy->kernels(),
                                           teacher_ ? &*teacher_ : nullptr);
  step_options.norm_groups = norm_groups_;
  return step_options;
}

bool TrainingRun::CompileWith(const MemoryPolicy& policy) {
  StepOptions step_options = StepOptionsOfRun();
  step_options.policy = policy;
  const StepProgram step = TraceStep(*plan_, step_options);
  slots_ = step.slots;
  flops_per_step_ = pallas::CountFlops(*step.graph);
  program_ = std::make_unique<Program>(
      Program::Compile(*environment_.client, *step.graph,
                       {.name = "train_step",
                        .device = environment_.device(),
                        .cache = environment_.cache ? &*environment_.cache : nullptr}));
  // Before the weights come; what loading them took goes before the first step.
  ReleaseCompiler(*environment_.client);
  return !environment_.on_compiled || environment_.on_compiled(*program_, policy);
}

void TrainingRun::LoadWeights(const Checkpoint* checkpoint) {
  const Clock::time_point start = Clock::now();
  const pjrt::Device device = environment_.device();
  parameters_ = models::LoadParameters(files_, *plan_, device, options_.seed);
  BeginAdapter(checkpoint);
  if (checkpoint != nullptr) {
    LoadAdapter(checkpoint->folder());
    state_ = checkpoint->LoadOptimizer(slots_, device);
  } else {
    for (const optim::Slot& slot : slots_) {
      state_.push_back(pjrt::Buffer::FromHost(device, slot.shape, optim::InitialBytes(slot)));
    }
  }
  state_.push_back(pjrt::Buffer::FromHost(device, {DType::kS32, {}},
                                          std::vector<int32_t>{static_cast<int32_t>(done_)}));
  constants_.push_back(pjrt::Buffer::FromHost(device, {DType::kU64, {}},
                                              std::vector<uint64_t>{options_.seed << 32}));
  const auto numbers = optim::NumbersOf(ScheduleOf(options_, total_steps_));
  constants_.push_back(pjrt::Buffer::FromHost(device, {DType::kF32, {3}},
                                              std::vector<float>(numbers.begin(), numbers.end())));
  if (teacher_) teacher_parameters_ = teacher_->Load(device);
  malloc_trim(0);
  load_seconds_ = SecondsSince(start);
}

void TrainingRun::BeginAdapter(const Checkpoint* checkpoint) {
  const std::vector<nn::ParamSpec>& specs = plan_->specs();
  if (options_.lora.init == lora::LoraInit::kPissa) {
    if (checkpoint != nullptr) {
      lora::LoadPissa(checkpoint->folder(), lora::PissaPart::kInitial, specs, parameters_);
    } else {
      lora::SetPrincipalFactors(options_.lora, specs, options_.seed, parameters_);
    }
    initial_ = ToHost(Trainable(specs, parameters_));
    lora::SubtractFactors(options_.lora, specs, parameters_);
    return;
  }
  if (checkpoint != nullptr) return;
  if (options_.init_adapter.empty()) {
    lora::SetMagnitudes(*environment_.client, environment_.device(), specs, parameters_);
  } else {
    LoadAdapter(options_.init_adapter);
  }
}

StepMetrics TrainingRun::Step(const Batch& batch) {
  const Clock::time_point start = Clock::now();
  const pjrt::Device device = environment_.device();
  const auto to_device = [&](const Dims& dims, const std::vector<int32_t>& values) {
    return pjrt::Buffer::FromHost(device, {DType::kS32, dims}, values);
  };
  const Dims tokens = {data_.shape.accumulation, data_.shape.batch, data_.shape.seq};
  const Dims rows = {data_.shape.accumulation, data_.shape.loss_positions};
  std::vector<pjrt::Buffer> data;
  data.push_back(to_device(tokens, batch.ids));
  if (data_.shape.packs) {
    data.push_back(to_device(tokens, batch.segments));
    data.push_back(to_device(tokens, batch.places));
  }
  data.push_back(to_device(rows, batch.positions));
  data.push_back(to_device(rows, batch.labels));

  std::vector<pjrt::Buffer*> arguments;
  for (pjrt::Buffer& buffer : parameters_) arguments.push_back(&buffer);
  for (pjrt::Buffer& buffer : state_) arguments.push_back(&buffer);
  for (pjrt::Buffer& buffer : constants_) arguments.push_back(&buffer);
  for (pjrt::Buffer& buffer : data) arguments.push_back(&buffer);
  for (pjrt::Buffer& buffer : teacher_parameters_) arguments.push_back(&buffer);
  std::vector<pjrt::Buffer> results = program_->Run(arguments);

  size_t next = 0;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (plan_->specs()[i].trainable) parameters_[i] = std::move(results[next++]);
  }
  for (pjrt::Buffer& buffer : state_) buffer = std::move(results[next++]);
  const auto scalar = [&] { return static_cast<double>(results[next++].ToVector<float>()[0]); };
  StepMetrics metrics{.step = ++done_};
  metrics.epoch = loader_->epochs();
  metrics.loss = scalar();
  metrics.grad_norm = scalar();
  metrics.learning_rate = scalar();
  for (size_t i = 0; i < norm_groups_.size(); ++i) metrics.group_norms.push_back(scalar());
  if (options_.isomorphism) {
    for (const std::string& name : PartNames(options_.isomorphism->term)) {
      metrics.parts.emplace_back(name, scalar());
    }
  }
  metrics.tokens = batch.tokens;
  metrics.data_wait_seconds = batch.waited_seconds;
  metrics.seconds = SecondsSince(start);
  return metrics;
}

EvaluationResult TrainingRun::Evaluate() {
  SOPHIA_CHECK(evaluator_.has_value());
  std::vector<pjrt::Buffer*> parameters;
  for (pjrt::Buffer& buffer : parameters_) parameters.push_back(&buffer);
  return evaluator_->Run(parameters);
}

void TrainingRun::LoadAdapter(const std::filesystem::path& folder) {
  if (options_.lora.init == lora::LoraInit::kPissa) {
    lora::LoadPissa(folder, lora::PissaPart::kTrained, plan_->specs(), parameters_);
  } else {
    lora::LoadAdapter(folder, plan_->specs(), environment_.device(), parameters_);
  }
}

RunState TrainingRun::State() const {
  std::vector<const pjrt::Buffer*> buffers = Trainable(plan_->specs(), parameters_);
  const auto trainable = static_cast<int64_t>(buffers.size());
  for (size_t i = 0; i < slots_.size(); ++i) buffers.push_back(&state_[i]);
  HostArrays arrays = ToHost(buffers);
  RunState state{.step = done_, .epoch = loader_->epochs(), .data = loader_->position()};
  state.optimizer.assign(std::make_move_iterator(arrays.begin() + trainable),
                         std::make_move_iterator(arrays.end()));
  arrays.resize(static_cast<size_t>(trainable));
  state.trainable = std::move(arrays);
  return state;
}

void TrainingRun::SaveAdapter(const std::filesystem::path& folder) const {
  SaveAdapter(folder, ToHost(Trainable(plan_->specs(), parameters_)));
}

void TrainingRun::SaveAdapter(const std::filesystem::path& folder,
                              const HostArrays& trainable) const {
  const std::string model = options_.model.string();
  if (options_.lora.init == lora::LoraInit::kPissa) {
    lora::SavePissa(folder, options_.lora, plan_->specs(), trainable, initial_, model);
  } else {
    lora::SaveAdapter(folder, options_.lora, plan_->specs(), trainable, model);
  }
}

}  // namespace sophia::train
