#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sophia/models/model_plan.h"
#include "sophia/pjrt/buffer.h"
#include "sophia/runtime/cache.h"
#include "sophia/runtime/program.h"
#include "sophia/train/batches.h"
#include "sophia/train/memory_policy.h"

namespace sophia::train {

// A row's loss: the sum over its trained tokens.
struct RowLoss {
  double sum = 0;
  int64_t tokens = 0;

  double mean() const { return sum / static_cast<double>(tokens); }
};

struct EvaluationResult {
  std::vector<RowLoss> rows;  // in the order of the examples
  double seconds = 0;

  int64_t tokens() const;
  // The mean over the trained tokens of all rows; every token counts the same.
  double loss() const;
  // exp(loss).
  double perplexity() const;
};

// What each layer makes of some tokens.
struct HiddenStates {
  Dims dims;                   // [layers, tokens, width]
  std::vector<float> values;   // f32
  std::vector<float> counted;  // [tokens]: 1, or 0 for a token that is not trained
};

struct EvaluatorOptions {
  int64_t batch = 8;  // sequences
  bool packing = true;
  MemoryPolicy policy = {};
};

// Computes the loss of every example of a data set, without dropout. What is packed together does
// not see each other, so packing does not change a loss.
class Evaluator {
 public:
  // `dataset` and `plan` must live longer.
  Evaluator(const Dataset& dataset, const models::ModelPlan& plan, const EvaluatorOptions& options);

  const BatchShape& shape() const { return shape_; }
  const Program& Compile(const pjrt::Device& device, const CompileCache* cache);
  // After Compile(). `parameters` in the order of the plan's specs; they are only read.
  EvaluationResult Run(std::span<pjrt::Buffer* const> parameters) const;

  // Of at most `most` trained tokens of the first batch, spread over them; compiled at each call.
  // `parameters` as for Run().
  HiddenStates FirstStates(int64_t most, std::span<pjrt::Buffer* const> parameters,
                           const CompileCache* cache) const;

 private:
  struct LaidBatch;
  // The batch whose first sequence this is.
  LaidBatch Lay(size_t first) const;
  std::vector<pjrt::Buffer> RunOn(const Program& program, const Batch& batch,
                                  std::span<pjrt::Buffer* const> parameters) const;

  const Dataset& dataset_;
  const models::ModelPlan& plan_;
  MemoryPolicy policy_;
  BatchShape shape_;
  std::vector<std::vector<size_t>> sequences_;  // examples of each
  std::optional<Program> program_;
};

// inputs:  parameters (ParamTable order), ids s32[B, S], segments and places likewise if the shape
//          packs, positions s32[N], labels s32[N]
// outputs: losses f32[N], see TokenLosses; where `probes` is above 0 instead of them the states
//          f32[layers, n, width] of at most so many trained tokens, and which of them count, f32[n]
std::unique_ptr<Graph> TraceEvaluation(const models::ModelPlan& plan, const BatchShape& shape,
                                       const MemoryPolicy& policy, int64_t probes = 0);

}  // namespace sophia::train
