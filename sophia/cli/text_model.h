#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sophia/cli/engine.h"
#include "sophia/generate/generator.h"
#include "sophia/io/rows.h"
#include "sophia/train/examples.h"

namespace sophia::cli {

// A model that continues texts, with the sampling options of the command line.
class TextModel {
 public:
  enum class Tokens : uint8_t { kText, kIdsOnly };

  // Reads configurations and the tokenizer, which kIdsOnly does without if there is none.
  explicit TextModel(const Values& values, Tokens tokens = Tokens::kText);
  // With this adapter instead of --adapter; empty: the base model. kIdsOnly.
  TextModel(const Values& values, std::filesystem::path adapter);

  const train::TextEncoder& encoder() const { return encoder_; }
  const LoadedModel& model() const { return model_; }
  int64_t max_positions() const { return model_.plan().model->sizes().max_positions; }

  struct LoadOptions {
    int64_t batch = 1;
    int64_t longest_prompt = 0;  // tokens
    // Tokens of the longest prompt with its answer; 0: longest_prompt and max_new_tokens.
    int64_t capacity = 0;
  };
  // Puts the weights on the device, for models that are not to answer.
  void LoadWeights() { model_.Load(); }
  // The same for models that are. Throws Error when prompt and answer exceed the model's positions.
  void Load(const LoadOptions& options);
  // After Load().
  int64_t capacity() const { return capacity_; }

  // One answer a prompt.
  std::vector<std::string> Answer(const std::vector<std::vector<int32_t>>& prompts);
  // Prints the answer as it comes, and the end of the line; returns it.
  std::string Stream(const std::vector<int32_t>& prompt);
  std::vector<int32_t> Continue(const std::vector<int32_t>& prompt);

 private:
  void OpenEncoder(Tokens tokens);
  generate::GenerateOptions Options() const;

  const Values& values_;
  LoadedModel model_;
  train::TextEncoder encoder_;
  int64_t capacity_ = 0;
  std::optional<generate::Generator> generator_;
};

}  // namespace sophia::cli
