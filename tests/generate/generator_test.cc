// Continuations against transformers and peft, and the cache against the uncached model.
#include "sophia/generate/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "sophia/generate/logits.h"
#include "tests/generate/tiny_model.h"

namespace sophia::generate {
namespace {

using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using ::testing::StartsWith;

using Ids = std::vector<int32_t>;
using Prompts = std::vector<Ids>;

std::vector<Ids> IdsOf(const std::vector<Continuation>& continuations) {
  std::vector<Ids> ids;
  for (const Continuation& continuation : continuations) ids.push_back(continuation.ids);
  return ids;
}

const LoadedModel& Tiny() {
  static const LoadedModel model(Fixture("llama/gqa"));
  return model;
}

const Prompts kPrompts = {{22}, {18, 74, 121, 58, 57}, {65, 14, 3, 78, 32, 6, 92, 111, 24, 25}};

// Prompts of one base and adapter, alone and in a batch of rows of different lengths.
TEST(Generator, GreedyEqualsTransformersAndPeft) {
  struct Group {
    Prompts prompts;
    Prompts expected;
  };
  std::map<std::pair<std::string, std::string>, Group> groups;
  for (const Json& record : ReadJson(Fixture("generate/greedy.json"))) {
    const Json& adapter = record["adapter"];
    Group& group = groups[{record["base"].get<std::string>(),
                           adapter.is_null() ? "" : adapter.get<std::string>()}];
    group.prompts.push_back(record["prompt"].get<Ids>());
    group.expected.push_back(record["new_ids"].get<Ids>());
  }
  ASSERT_EQ(groups.size(), 3);
  for (const auto& [key, group] : groups) {
    const auto& [base, adapter] = key;
    SCOPED_TRACE(base + " with " + (adapter.empty() ? "no adapter" : adapter));
    const LoadedModel model(Fixture(base),
                            adapter.empty() ? std::nullopt : std::optional(Fixture(adapter)));
    const auto count = static_cast<int64_t>(group.expected[0].size());
    for (const int64_t batch : {1, 2}) {
      Generator generator(model.plan, model.parameters, {.batch = batch, .capacity = 48});
      EXPECT_EQ(IdsOf(generator.Generate(group.prompts, {.max_new_tokens = count})), group.expected)
          << "batch " << batch;
    }
  }
}

// Reads a prompt, then steps through given tokens, as the generator does.
std::vector<float> CachedLogits(const LoadedModel& model, const IdArray& ids, int64_t prompt,
                                int64_t capacity) {
  const int64_t batch = ids.dims[0];
  const int64_t seq = ids.dims[1];
  const pjrt::Device device = pjrt::SharedCpuClient().default_device();
  const CacheSize size{batch, capacity};
  const Program prefill =
      Program::Compile(pjrt::SharedCpuClient(), *TracePrefill(model.plan, size, prompt));
  const Program decode = Program::Compile(pjrt::SharedCpuClient(), *TraceDecode(model.plan, size));
  const auto column = [&](int64_t from, int64_t count) {
    Ids part;
    for (int64_t b = 0; b < batch; ++b) {
      const auto begin = ids.values.begin() + b * seq + from;
      part.insert(part.end(), begin, begin + count);
    }
    return pjrt::Buffer::FromHost(device, {DType::kS32, {batch, count}}, part);
  };
  std::vector<float> logits;
  pjrt::Buffer prompt_ids = column(0, prompt);
  pjrt::Buffer last =
      pjrt::Buffer::FromHost(device, {DType::kS32, {batch}},
                             Ids(static_cast<size_t>(batch), static_cast<int>(prompt) - 1));
  std::vector<pjrt::Buffer*> inputs = model.parameters;
  inputs.insert(inputs.end(), {&prompt_ids, &last});
  std::vector<pjrt::Buffer> state = prefill.Run(inputs);
  for (int64_t at = prompt;; ++at) {
    const auto next = state[2].ToVector<float>();
    logits.insert(logits.end(), next.begin(), next.end());
    if (at == seq) return logits;
    pjrt::Buffer token = column(at, 1);
    pjrt::Buffer position = pjrt::Buffer::FromHost(
        device, {DType::kS32, {batch, 1}}, Ids(static_cast<size_t>(batch), static_cast<int>(at)));
    inputs = model.parameters;
    inputs.insert(inputs.end(), {&token, &position, &state[0], &state[1]});
    std::vector<pjrt::Buffer> stepped = decode.Run(inputs);
    EXPECT_TRUE(state[0].IsDeleted() && state[1].IsDeleted()) << "the cache is copied";
    state = std::move(stepped);
  }
}

// What CachedLogits gives, cut out of the logits of the whole sequences.
std::vector<float> UncachedLogits(const LoadedModel& model, const IdArray& ids, int64_t prompt) {
  const int64_t batch = ids.dims[0];
  const int64_t seq = ids.dims[1];
  const std::vector<float> full =
      FullLogits(model.plan, model.parameters, {.ids = ids.values, .batch = batch, .seq = seq});
  const int64_t vocab = model.plan.model->sizes().vocab;
  std::vector<float> logits;
  for (int64_t at = prompt - 1; at < seq; ++at) {
    for (int64_t b = 0; b < batch; ++b) {
      const auto begin = full.begin() + (b * seq + at) * vocab;
      logits.insert(logits.end(), begin, begin + vocab);
    }
  }
  return logits;
}

struct CacheCase {
  const char* name;
  const char* model;
  int64_t prompt;
  int64_t slack;  // of the capacity
  DType dtype = DType::kF32;
  double tolerance = 1e-5;
};
void PrintTo(const CacheCase& c, std::ostream* out) { *out << c.name; }

class CachedModel : public ::testing::TestWithParam<CacheCase> {};

TEST_P(CachedModel, EqualsTheUncached) {
  const CacheCase& c = GetParam();
  const std::filesystem::path folder = Fixture(std::string("llama/") + c.model);
  const LoadedModel model(folder, std::nullopt, c.dtype);
  const IdArray ids = ReadIds(io::SafetensorsFile(folder / "ids.safetensors"), "ids");
  ASSERT_GT(ids.dims[1], c.prompt);
  EXPECT_LE(RelativeError(CachedLogits(model, ids, c.prompt, ids.dims[1] + c.slack),
                          UncachedLogits(model, ids, c.prompt)),
            c.tolerance);
}

INSTANTIATE_TEST_SUITE_P(Cases, CachedModel,
                         ::testing::Values(CacheCase{"gqa", "gqa", 5, 7},
                                           CacheCase{"one_token_prompt", "mha", 1, 3},
                                           CacheCase{"llama3", "rope_llama3_long", 6, 0},
                                           CacheCase{"bf16", "gqa", 5, 7, DType::kBF16, 0.03}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Generator, PadsPromptsToFewLengths) {
  EXPECT_EQ(Generator::PaddedLength(1, 100), 16);
  EXPECT_EQ(Generator::PaddedLength(16, 100), 16);
  EXPECT_EQ(Generator::PaddedLength(17, 100), 32);
  EXPECT_EQ(Generator::PaddedLength(33, 100), 64);
  EXPECT_EQ(Generator::PaddedLength(65, 100), 100);
  EXPECT_EQ(Generator::PaddedLength(3, 10), 10);
}

TEST(Generator, FillsTheCapacityExactly) {
  Ids prompt(20);
  std::iota(prompt.begin(), prompt.end(), 30);
  Generator exact(Tiny().plan, Tiny().parameters, {.capacity = 29});
  Generator roomy(Tiny().plan, Tiny().parameters, {.capacity = 64});
  const GenerateOptions options{.max_new_tokens = 9};
  EXPECT_EQ(IdsOf(exact.Generate({prompt}, options)), IdsOf(roomy.Generate({prompt}, options)));
}

TEST(Generator, SamplesTheSameWhateverTheBatch) {
  const GenerateOptions options{.max_new_tokens = 12,
                                .sampling = {.temperature = 1, .top_k = 50, .seed = 11}};
  std::vector<std::vector<Ids>> results;
  for (const int64_t batch : {1, 4}) {
    Generator generator(Tiny().plan, Tiny().parameters, {.batch = batch, .capacity = 32});
    results.push_back(IdsOf(generator.Generate(kPrompts, options)));
    EXPECT_EQ(IdsOf(generator.Generate(kPrompts, options)), results.back());
  }
  EXPECT_EQ(results[1], results[0]);
  GenerateOptions other = options;
  other.sampling.seed = 12;
  Generator generator(Tiny().plan, Tiny().parameters, {.capacity = 32});
  EXPECT_NE(IdsOf(generator.Generate(kPrompts, other)), results[0]);
  // Equal prompts of one call are drawn apart.
  const auto twice = generator.Generate({kPrompts[1], kPrompts[1]}, options);
  EXPECT_NE(twice[0].ids, twice[1].ids);
}

TEST(Generator, SamplingFromOneTokenIsGreedy) {
  Generator generator(Tiny().plan, Tiny().parameters, {.batch = 3, .capacity = 32});
  EXPECT_EQ(IdsOf(generator.Generate(
                kPrompts, {.max_new_tokens = 8, .sampling = {.temperature = 0.7, .top_k = 1}})),
            IdsOf(generator.Generate(kPrompts, {.max_new_tokens = 8})));
}

TEST(Generator, StopsAtStopIdsAndStreams) {
  Generator generator(Tiny().plan, Tiny().parameters, {.batch = 2, .capacity = 32});
  const auto free = IdsOf(generator.Generate(kPrompts, {.max_new_tokens = 10}));
  // The first row stops at its third token, the others where they meet it, if they do.
  const int32_t stop = free[0][2];
  std::vector<Ids> streamed(kPrompts.size());
  const auto stopped = generator.Generate(
      kPrompts, {.max_new_tokens = 10,
                 .stop_ids = {stop, 1000},
                 .on_token = [&](size_t prompt, int32_t id) { streamed[prompt].push_back(id); }});
  for (size_t i = 0; i < free.size(); ++i) {
    const auto end = std::find(free[i].begin(), free[i].end(), stop);
    EXPECT_THAT(stopped[i].ids, ElementsAreArray(Ids(free[i].begin(), end)));
    EXPECT_EQ(stopped[i].stop_id.has_value(), end != free[i].end());
  }
  EXPECT_EQ(stopped[0].stop_id, stop);
  EXPECT_LT(stopped[0].ids.size(), 3);
  EXPECT_EQ(streamed, IdsOf(stopped));
}

TEST(Generator, EndsWhenEveryRowHasEnded) {
  Generator generator(Tiny().plan, Tiny().parameters, {.batch = 1, .capacity = 64});
  const Ids first = generator.Generate({kPrompts[0]}, {.max_new_tokens = 1})[0].ids;
  ASSERT_EQ(first.size(), 1);
  const auto ended =
      generator.Generate({kPrompts[0]}, {.max_new_tokens = 50, .stop_ids = {first[0]}});
  EXPECT_THAT(ended[0].ids, IsEmpty());
  EXPECT_EQ(ended[0].stop_id, first[0]);
  EXPECT_THAT(generator.Generate({}, {}), IsEmpty());
}

TEST(Generator, RefusesLogitsThatAreNoNumbers) {
  LoadedModel model(Fixture("llama/gqa"));
  const auto norm =
      std::find_if(model.plan.specs().begin(), model.plan.specs().end(),
                   [](const nn::ParamSpec& spec) { return spec.path == "model.norm.weight"; });
  ASSERT_NE(norm, model.plan.specs().end());
  model.buffers[static_cast<size_t>(norm - model.plan.specs().begin())] =
      pjrt::Buffer::FromHost(pjrt::SharedCpuClient().default_device(), norm->shape(),
                             std::vector<float>(static_cast<size_t>(norm->dims[0]), NAN));
  Generator generator(model.plan, model.parameters, {.capacity = 16});
  for (const double temperature : {0.0, 1.0}) {
    EXPECT_THAT(MessageOf([&] {
                  generator.Generate(
                      {{4}}, {.max_new_tokens = 2, .sampling = {.temperature = temperature}});
                }),
                StartsWith("[logits] expected numbers, got nan"));
  }
}

TEST(Generator, RefusesWhatItCannotDo) {
  const auto message = [](const GeneratorOptions& generator, const Prompts& prompts,
                          const GenerateOptions& options) {
    return MessageOf(
        [&] { Generator(Tiny().plan, Tiny().parameters, generator).Generate(prompts, options); });
  };
  const GeneratorOptions small{.capacity = 12};
  EXPECT_EQ(message(small, {{1}, {1, 2, 3}}, {.max_new_tokens = 10}),
            "[prompt 1] expected prompt and new tokens to fit a capacity of 12, got 3 + 10");
  EXPECT_EQ(message(small, {{}}, {.max_new_tokens = 1}),
            "[prompt 0] expected at least one token, got none");
  EXPECT_EQ(message(small, {{5, 128}}, {.max_new_tokens = 1}),
            "[prompt 0] expected token ids from 0 to 127, got 128 at place 1");
  EXPECT_EQ(message(small, {{1}}, {.max_new_tokens = 0}),
            "[max_new_tokens] expected at least 1, got 0");
  EXPECT_EQ(message(small, {{1}}, {.max_new_tokens = 1, .sampling = {.top_p = 2}}),
            "[top_p] expected above 0 up to 1, got 2");
  EXPECT_EQ(message({.capacity = 129}, {}, {}),
            "[generate] expected a capacity from 1 to the model's 128 positions, got 129");
  EXPECT_EQ(message({.batch = 0, .capacity = 12}, {}, {}),
            "[generate] expected a batch of at least 1, got 0");
}

}  // namespace
}  // namespace sophia::generate
