#include "sophia/train/evaluator.h"

#include <chrono>
#include <cmath>

#include "sophia/base/error.h"
#include "sophia/base/stopwatch.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/train/token_losses.h"

namespace sophia::train {
namespace {

std::vector<std::vector<size_t>> Arrange(const Dataset& dataset, const BatchShape& shape) {
  if (shape.packs) return Pack(*dataset.sizes(), LimitsOf(shape));
  std::vector<std::vector<size_t>> sequences;
  for (size_t i = 0; i < dataset.size(); ++i) sequences.push_back({i});
  return sequences;
}

}  // namespace

struct Evaluator::LaidBatch {
  struct Place {
    size_t example;
    LossSpan span;
  };
  Batch batch;
  std::vector<Place> places = {};
};

int64_t EvaluationResult::tokens() const {
  int64_t tokens = 0;
  for (const RowLoss& row : rows) tokens += row.tokens;
  return tokens;
}

double EvaluationResult::loss() const {
  double sum = 0;
  for (const RowLoss& row : rows) sum += row.sum;
  return sum / static_cast<double>(tokens());
}

double EvaluationResult::perplexity() const { return std::exp(loss()); }

std::unique_ptr<Graph> TraceEvaluation(const models::ModelPlan& plan, const BatchShape& shape,
                                       const MemoryPolicy& policy, int64_t probes) {
  auto graph = std::make_unique<Graph>();
  models::BindInputs(*graph, plan);
  const Shape tokens{DType::kS32, {shape.batch, shape.seq}};
  const Shape losses{DType::kS32, {shape.loss_positions}};
  MicroBatch batch{.ids = graph->AddInput(tokens, {.name = "ids"})};
  if (shape.packs) {
    batch.segments = graph->AddInput(tokens, {.name = "segments"});
    batch.places = graph->AddInput(tokens, {.name = "places"});
  }
  batch.positions = graph->AddInput(losses, {.name = "positions"});
  batch.labels = graph->AddInput(losses, {.name = "labels"});
  const Tracing tracing(*graph);
  plan.policy->set_activations(policy.activations);
  if (probes == 0) {
    graph->AddOutput(TokenLosses(plan, shape, batch, policy.loss_chunk), {.name = "losses"});
    return graph;
  }
  const Probes at = ProbesOf(shape, batch, probes);
  const Tensor states = RunMicro(plan, shape, batch, at.places).states;
  graph->AddOutput(Convert(states, DType::kF32), {.name = "states"});
  graph->AddOutput(at.counted, {.name = "counted"});
  return graph;
}

Evaluator::Evaluator(const Dataset& dataset, const models::ModelPlan& plan,
                     const EvaluatorOptions& options)
    : dataset_(dataset), plan_(plan), policy_(options.policy) {
  SOPHIA_CHECK(dataset.size() > 0);
  BatchOptions batch{.batch = std::min(options.batch, static_cast<int64_t>(dataset.size())),
                     .packing = options.packing};
  shape_ = ShapeFor(dataset, batch);
  sequences_ = Arrange(dataset, shape_);
  const auto count = static_cast<int64_t>(sequences_.size());
  if (count >= batch.batch) return;
  batch.batch = count;
  shape_ = ShapeFor(dataset, batch);
  sequences_ = Arrange(dataset, shape_);
}

const Program& Evaluator::Compile(const pjrt::Device& device, const CompileCache* cache) {
  program_ = Program::Compile(device.client(), *TraceEvaluation(plan_, shape_, policy_),
                              {.name = "evaluation", .device = device, .cache = cache});
  return *program_;
}

EvaluationResult Evaluator::Run(std::span<pjrt::Buffer* const> parameters) const {
  SOPHIA_CHECK(program_.has_value());
  const auto start = std::chrono::steady_clock::now();
  EvaluationResult result;
  result.rows.resize(dataset_.size());
  for (size_t first = 0; first < sequences_.size(); first += static_cast<size_t>(shape_.batch)) {
    const LaidBatch laid = Lay(first);
    const auto losses = RunOn(*program_, laid.batch, parameters)[0].ToVector<float>();
    for (const auto& [example, span] : laid.places) {
      result.rows[example].tokens = TrainedTokens(dataset_.examples[example]);
      for (size_t i = span.begin; i < span.end; ++i) result.rows[example].sum += losses[i];
    }
  }
  result.seconds = SecondsSince(start);
  return result;
}

HiddenStates Evaluator::FirstStates(int64_t most, std::span<pjrt::Buffer* const> parameters,
                                    const CompileCache* cache) const {
  const pjrt::Device device = parameters[0]->device();
  const Program program =
      Program::Compile(device.client(), *TraceEvaluation(plan_, shape_, policy_, most),
                       {.name = "hidden_states", .device = device, .cache = cache});
  const std::vector<pjrt::Buffer> results = RunOn(program, Lay(0).batch, parameters);
  return {.dims = results[0].shape().dims,
          .values = results[0].ToVector<float>(),
          .counted = results[1].ToVector<float>()};
}

Evaluator::LaidBatch Evaluator::Lay(size_t first) const {
  LaidBatch laid{.batch = EmptyBatch(shape_)};
  size_t trained = 0;
  for (int64_t row = 0; row < shape_.batch; ++row) {
    const size_t sequence = first + static_cast<size_t>(row);
    if (sequence == sequences_.size()) break;
    FillPosition at{.row = row, .trained = trained};
    for (const size_t example : sequences_[sequence]) {
      laid.places.push_back(
          {example, AddExample(dataset_.examples[example], shape_, at, laid.batch)});
    }
    trained = at.trained;
  }
  return laid;
}

std::vector<pjrt::Buffer> Evaluator::RunOn(const Program& program, const Batch& batch,
                                           std::span<pjrt::Buffer* const> parameters) const {
  const pjrt::Device device = parameters[0]->device();
  const Dims tokens = {shape_.batch, shape_.seq};
  const Dims positions = {shape_.loss_positions};
  std::vector<pjrt::Buffer> data;
  const auto add = [&](const Dims& dims, const std::vector<int32_t>& values) {
    data.push_back(pjrt::Buffer::FromHost(device, {DType::kS32, dims}, values));
  };
  add(tokens, batch.ids);
  if (shape_.packs) {
    add(tokens, batch.segments);
    add(tokens, batch.places);
  }
  add(positions, batch.positions);
  add(positions, batch.labels);
  std::vector<pjrt::Buffer*> arguments(parameters.begin(), parameters.end());
  for (pjrt::Buffer& buffer : data) arguments.push_back(&buffer);
  return program.Run(arguments);
}

}  // namespace sophia::train
