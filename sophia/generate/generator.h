#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "sophia/generate/programs.h"
#include "sophia/generate/sampler.h"
#include "sophia/models/model_plan.h"
#include "sophia/pjrt/buffer.h"
#include "sophia/runtime/program.h"

namespace sophia::generate {

struct GeneratorOptions {
  int64_t batch = 1;     // prompts that run together
  int64_t capacity = 0;  // tokens of the longest prompt with its continuation
  const CompileCache* cache = nullptr;
};

struct GenerateOptions {
  int64_t max_new_tokens = 128;
  SamplingOptions sampling = {};
  std::vector<int32_t> stop_ids = {};
  // Called for each token of a continuation as soon as it is known.
  std::function<void(size_t prompt, int32_t id)> on_token = {};
};

struct Continuation {
  std::vector<int32_t> ids;                       // without the stop id
  std::optional<int32_t> stop_id = std::nullopt;  // absent: the number of tokens ended it
};

// Continues prompts: one program reads them into a cache of keys and values, another adds a token
// at a time. Programs are compiled when first needed and kept. An adapter is part of the model's
// parameters.
class Generator {
 public:
  // `plan` and the buffers must outlive the generator. The cache has the model's type. Throws Error
  // for a capacity beyond the model's positions.
  Generator(const models::ModelPlan& plan, std::span<pjrt::Buffer* const> parameters,
            const GeneratorOptions& options);

  // One continuation for each prompt, in order, whatever the batch. Prompt i draws from stream i of
  // the seed. Throws Error for empty prompts, ids that the model does not know and continuations
  // beyond the capacity, before any work.
  std::vector<Continuation> Generate(const std::vector<std::vector<int32_t>>& prompts,
                                     const GenerateOptions& options);

  // The number of places, at most `capacity`, that prompts of up to `length` tokens are padded to.
  static int64_t PaddedLength(int64_t length, int64_t capacity);

 private:
  struct Row;
  class State;

  void Check(const std::vector<std::vector<int32_t>>& prompts,
             const GenerateOptions& options) const;
  State Prefill(std::span<const std::vector<int32_t>> prompts);
  void Decode(const std::vector<Row>& rows, State& state);
  void GenerateBatch(std::span<const std::vector<int32_t>> prompts, size_t first,
                     const GenerateOptions& options, std::span<Continuation> results);
  std::vector<pjrt::Buffer> Run(const Program& program, std::vector<pjrt::Buffer*> inputs) const;

  const models::ModelPlan& plan_;
  std::vector<pjrt::Buffer*> parameters_;
  GeneratorOptions options_;
  std::map<int64_t, Program> prefill_;  // by padded length
  std::optional<Program> decode_;
};

}  // namespace sophia::generate
