#include "sophia/cli/text_model.h"

#include <cstdio>

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"

namespace sophia::cli {
namespace {

// Programs are compiled for a number of places; rounding it up lets runs share them.
constexpr int64_t kCapacityStep = 64;

}  // namespace

TextModel::TextModel(const Values& values, Tokens tokens) : values_(values), model_(values) {
  OpenEncoder(tokens);
}

TextModel::TextModel(const Values& values, std::filesystem::path adapter)
    : values_(values), model_(values, std::move(adapter)) {
  OpenEncoder(Tokens::kIdsOnly);
}

void TextModel::OpenEncoder(Tokens tokens) {
  const int64_t vocab = model_.plan().model->sizes().vocab;
  const models::ModelFiles& files = model_.files();
  if (tokens == Tokens::kText || files.HasTokenizer()) {
    encoder_ = train::TextEncoder::ForTokenizer(files.LoadTokenizer(), vocab);
  }
}

void TextModel::Load(const LoadOptions& options) {
  const int64_t positions = max_positions();
  const int64_t asked = options.capacity > 0
                            ? options.capacity
                            : options.longest_prompt + values_.Integer("max_new_tokens");
  if (asked > positions) {
    Fail("generate", "expected prompt and answer within the model's {} positions, got {}; lower {}",
         positions, asked, options.capacity > 0 ? "--max-length" : "--max-new-tokens");
  }
  const int64_t rounded = RoundUp(asked, kCapacityStep);
  capacity_ = std::min(positions, rounded);
  model_.Load();
  generator_.emplace(model_.plan(), model_.parameters(),
                     generate::GeneratorOptions{
                         .batch = options.batch, .capacity = capacity_, .cache = model_.cache()});
}

generate::GenerateOptions TextModel::Options() const {
  generate::GenerateOptions options{
      .max_new_tokens = values_.Integer("max_new_tokens"),
      .sampling = {.temperature = values_.Number("temperature"),
                   .top_k = values_.Integer("top_k"),
                   .top_p = values_.Number("top_p"),
                   .seed = static_cast<uint64_t>(values_.Integer("seed"))}};
  if (encoder_.tokenizer) options.stop_ids = encoder_.tokenizer->eos_ids();
  return options;
}

std::vector<std::string> TextModel::Answer(const std::vector<std::vector<int32_t>>& prompts) {
  std::vector<std::string> answers;
  for (const generate::Continuation& continuation : generator_->Generate(prompts, Options())) {
    answers.push_back(encoder_.tokenizer->Decode(continuation.ids, {.skip_special_tokens = true}));
  }
  return answers;
}

std::string TextModel::Stream(const std::vector<int32_t>& prompt) {
  io::StreamDecoder decoder(*encoder_.tokenizer, {.skip_special_tokens = true});
  std::string text;
  const auto show = [&](const std::string& piece) {
    text += piece;
    fmt::print("{}", piece);
    std::fflush(stdout);
  };
  generate::GenerateOptions options = Options();
  options.max_new_tokens =
      std::min(options.max_new_tokens, capacity_ - static_cast<int64_t>(prompt.size()));
  options.on_token = [&](size_t, int32_t id) { show(decoder.Push(id)); };
  generator_->Generate({prompt}, options);
  show(decoder.Finish());
  fmt::print("\n");
  std::fflush(stdout);
  return text;
}

std::vector<int32_t> TextModel::Continue(const std::vector<int32_t>& prompt) {
  return generator_->Generate({prompt}, Options())[0].ids;
}

}  // namespace sophia::cli
