#include "sophia/generate/generator.h"

#include <algorithm>
#include <bit>

#include "sophia/base/error.h"
#include "sophia/generate/token_ids.h"

namespace sophia::generate {

// A sequence of the batch while it grows. Finished rows stay where they are and are computed along.
struct Generator::Row {
  int32_t token = 0;     // the newest
  int32_t position = 0;  // of `token`
  bool finished = true;
  Sampler sampler = Sampler({});
};

// What a program left on the device.
class Generator::State {
 public:
  explicit State(std::vector<pjrt::Buffer> outputs) : outputs_(std::move(outputs)) {}

  pjrt::Buffer& keys() { return outputs_[0]; }
  pjrt::Buffer& values() { return outputs_[1]; }

  // The next token of every unfinished row.
  void Choose(bool greedy, std::vector<Row>& rows) const {
    const auto vocab = static_cast<size_t>(outputs_[2].shape().dims[1]);
    if (greedy) {
      const auto tokens = outputs_[3].ToVector<int32_t>();
      for (size_t i = 0; i < rows.size(); ++i) {
        if (rows[i].finished) continue;
        if (static_cast<size_t>(tokens[i]) >= vocab) {
          Fail("logits", "expected numbers, got nan in row {}", i);
        }
        rows[i].token = tokens[i];
      }
      return;
    }
    const auto logits = outputs_[2].ToVector<float>();
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].finished) continue;
      rows[i].token = rows[i].sampler.Next(std::span(logits).subspan(i * vocab, vocab));
    }
  }

 private:
  std::vector<pjrt::Buffer> outputs_;
};

Generator::Generator(const models::ModelPlan& plan, std::span<pjrt::Buffer* const> parameters,
                     const GeneratorOptions& options)
    : plan_(plan), parameters_(parameters.begin(), parameters.end()), options_(options) {
  SOPHIA_CHECK(!parameters.empty());
  if (options_.batch < 1)
    Fail("generate", "expected a batch of at least 1, got {}", options_.batch);
  const int64_t positions = plan.model->sizes().max_positions;
  if (options_.capacity < 1 || options_.capacity > positions) {
    Fail("generate", "expected a capacity from 1 to the model's {} positions, got {}", positions,
         options_.capacity);
  }
}

int64_t Generator::PaddedLength(int64_t length, int64_t capacity) {
  constexpr uint64_t kShortest = 16;
  const uint64_t padded = std::max(kShortest, std::bit_ceil(static_cast<uint64_t>(length)));
  return std::min(capacity, static_cast<int64_t>(padded));
}

void Generator::Check(const std::vector<std::vector<int32_t>>& prompts,
                      const GenerateOptions& options) const {
  options.sampling.Check();
  if (options.max_new_tokens < 1) {
    Fail("max_new_tokens", "expected at least 1, got {}", options.max_new_tokens);
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    const std::string where = fmt::format("prompt {}", i);
    if (prompts[i].empty()) Fail(where, "expected at least one token, got none");
    CheckIds(prompts[i], plan_.model->sizes().vocab, where);
    const auto length = static_cast<int64_t>(prompts[i].size());
    if (options.max_new_tokens > options_.capacity - length) {
      Fail(where, "expected prompt and new tokens to fit a capacity of {}, got {} + {}",
           options_.capacity, length, options.max_new_tokens);
    }
  }
}

std::vector<pjrt::Buffer> Generator::Run(const Program& program,
                                         std::vector<pjrt::Buffer*> inputs) const {
  inputs.insert(inputs.begin(), parameters_.begin(), parameters_.end());
  return program.Run(inputs);
}

Generator::State Generator::Prefill(std::span<const std::vector<int32_t>> prompts) {
  size_t longest = 0;
  for (const std::vector<int32_t>& prompt : prompts) longest = std::max(longest, prompt.size());
  const int64_t seq = PaddedLength(static_cast<int64_t>(longest), options_.capacity);
  const pjrt::Device device = parameters_[0]->device();
  auto program = prefill_.find(seq);
  if (program == prefill_.end()) {
    const CacheSize size{options_.batch, options_.capacity};
    program = prefill_
                  .emplace(seq, Program::Compile(
                                    device.client(), *TracePrefill(plan_, size, seq),
                                    {.name = "prefill", .device = device, .cache = options_.cache}))
                  .first;
  }
  std::vector<int32_t> ids(static_cast<size_t>(options_.batch * seq), 0);
  std::vector<int32_t> last(static_cast<size_t>(options_.batch), 0);
  for (size_t i = 0; i < prompts.size(); ++i) {
    std::copy(prompts[i].begin(), prompts[i].end(),
              ids.begin() + static_cast<std::ptrdiff_t>(i) * seq);
    last[i] = static_cast<int32_t>(prompts[i].size()) - 1;
  }
  auto ids_buffer = pjrt::Buffer::FromHost(device, {DType::kS32, {options_.batch, seq}}, ids);
  auto last_buffer = pjrt::Buffer::FromHost(device, {DType::kS32, {options_.batch}}, last);
  return State(Run(program->second, {&ids_buffer, &last_buffer}));
}

void Generator::Decode(const std::vector<Row>& rows, State& state) {
  const pjrt::Device device = parameters_[0]->device();
  if (!decode_) {
    const CacheSize size{options_.batch, options_.capacity};
    decode_ = Program::Compile(device.client(), *TraceDecode(plan_, size),
                               {.name = "decode", .device = device, .cache = options_.cache});
  }
  std::vector<int32_t> ids;
  std::vector<int32_t> positions;
  for (const Row& row : rows) {
    ids.push_back(row.token);
    positions.push_back(row.position);
  }
  const Shape shape = {DType::kS32, {options_.batch, 1}};
  auto ids_buffer = pjrt::Buffer::FromHost(device, shape, ids);
  auto positions_buffer = pjrt::Buffer::FromHost(device, shape, positions);
  state = State(Run(*decode_, {&ids_buffer, &positions_buffer, &state.keys(), &state.values()}));
}

void Generator::GenerateBatch(std::span<const std::vector<int32_t>> prompts, size_t first,
                              const GenerateOptions& options, std::span<Continuation> results) {
  std::vector<Row> rows(static_cast<size_t>(options_.batch));
  for (size_t i = 0; i < prompts.size(); ++i) {
    rows[i] = {.position = static_cast<int32_t>(prompts[i].size()) - 1,
               .finished = false,
               .sampler = Sampler(options.sampling, first + i)};
  }
  State state = Prefill(prompts);
  while (true) {
    state.Choose(options.sampling.greedy(), rows);
    for (size_t i = 0; i < prompts.size(); ++i) {
      Row& row = rows[i];
      if (row.finished) continue;
      if (std::ranges::find(options.stop_ids, row.token) != options.stop_ids.end()) {
        results[i].stop_id = row.token;
        row.finished = true;
        continue;
      }
      ++row.position;
      results[i].ids.push_back(row.token);
      if (options.on_token) options.on_token(first + i, row.token);
      row.finished = static_cast<int64_t>(results[i].ids.size()) == options.max_new_tokens;
    }
    if (std::ranges::all_of(rows, &Row::finished)) return;
    Decode(rows, state);
  }
}

std::vector<Continuation> Generator::Generate(const std::vector<std::vector<int32_t>>& prompts,
                                              const GenerateOptions& options) {
  Check(prompts, options);
  std::vector<Continuation> results(prompts.size());
  const auto batch = static_cast<size_t>(options_.batch);
  for (size_t first = 0; first < prompts.size(); first += batch) {
    const size_t count = std::min(batch, prompts.size() - first);
    GenerateBatch(std::span(prompts).subspan(first, count), first, options,
                  std::span(results).subspan(first, count));
  }
  return results;
}

}  // namespace sophia::generate
