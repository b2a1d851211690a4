// SmolLM2-135M-Instruct from its GGUF against transformers' GGUF loading, in f32.
#include <gtest/gtest.h>

#include <cmath>

#include "sophia/generate/generator.h"
#include "sophia/generate/logits.h"
#include "tests/generate/tiny_model.h"

namespace sophia::generate {
namespace {

using Ids = std::vector<int32_t>;

class SmolLm2 : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ =
        std::make_unique<LoadedModel>(SOPHIA_DEPS_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf");
  }
  static void TearDownTestSuite() { model_.reset(); }

  static Json Prompts() { return ReadJson(Fixture("smollm2/prompts.json")); }

  static std::unique_ptr<LoadedModel> model_;
};
std::unique_ptr<LoadedModel> SmolLm2::model_;

TEST_F(SmolLm2, LogitsEqualTransformers) {
  const io::SafetensorsFile fixture(Fixture("smollm2/logits.safetensors"));
  const auto vocab = static_cast<size_t>(model_->plan.model->sizes().vocab);
  for (const Json& prompt : Prompts()) {
    const auto name = prompt["name"].get<std::string>();
    SCOPED_TRACE(name);
    const auto ids = prompt["ids"].get<Ids>();
    const std::vector<float> logits =
        FullLogits(model_->plan, model_->parameters,
                   {.ids = ids, .batch = 1, .seq = static_cast<int64_t>(ids.size())});
    ASSERT_EQ(logits.size(), ids.size() * vocab);
    const FloatArray last = ReadFloats(fixture, name + ".last_logits");
    EXPECT_LE(RelativeError(std::span(logits).last(vocab), last.values), 1e-4);
    const auto [low, high] = std::minmax_element(last.values.begin(), last.values.end());
    const FloatArray sums = ReadFloats(fixture, name + ".logsumexp");
    ASSERT_EQ(sums.values.size(), ids.size());
    for (size_t at = 0; at < ids.size(); ++at) {
      double sum = 0;
      for (const float logit : std::span(logits).subspan(at * vocab, vocab)) {
        sum += std::exp(static_cast<double>(logit) - *high);
      }
      EXPECT_NEAR(std::log(sum) + *high, sums.values[at], 1e-4 * (*high - *low)) << "place " << at;
    }
  }
}

TEST_F(SmolLm2, GreedyAnswersEqualTransformers) {
  std::vector<Ids> prompts;
  std::vector<Ids> expected;
  for (const Json& prompt : Prompts()) {
    if (!prompt.contains("new_ids")) continue;
    prompts.push_back(prompt["ids"].get<Ids>());
    expected.push_back(prompt["new_ids"].get<Ids>());
  }
  ASSERT_EQ(prompts.size(), 2);
  Generator generator(model_->plan, model_->parameters, {.batch = 2, .capacity = 96});
  const std::vector<Continuation> answers =
      generator.Generate(prompts, {.max_new_tokens = static_cast<int64_t>(expected[0].size()),
                                   .stop_ids = model_->files.LoadTokenizer().eos_ids()});
  for (size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(answers[i].ids, expected[i]);
}

}  // namespace
}  // namespace sophia::generate
