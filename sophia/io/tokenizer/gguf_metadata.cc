#include <utility>

#include "sophia/io/gguf.h"
#include "sophia/io/tokenizer.h"

namespace sophia::io {
namespace {

// A list of numbers in the type that GgufTokenizerData has; empty when the key is absent.
template <typename Narrow, typename Wide>
std::vector<Narrow> FindList(const GgufMetadata& metadata, std::string_view key) {
  const auto wide = metadata.Find<std::vector<Wide>>(key).value_or(std::vector<Wide>());
  return std::vector<Narrow>(wide.begin(), wide.end());
}

}  // namespace

GgufTokenizerData ReadGgufTokenizer(const GgufMetadata& metadata) {
  GgufTokenizerData data;
  data.model = metadata.Require<std::string>("tokenizer.ggml.model");
  data.pre = metadata.FindOr<std::string>("tokenizer.ggml.pre", "");
  data.tokens = metadata.Require<std::vector<std::string>>("tokenizer.ggml.tokens");
  data.scores = FindList<float, double>(metadata, "tokenizer.ggml.scores");
  data.token_types = FindList<int32_t, int64_t>(metadata, "tokenizer.ggml.token_type");
  data.merges = metadata.FindOr<std::vector<std::string>>("tokenizer.ggml.merges", {});
  data.bos_token_id = metadata.Find<int64_t>("tokenizer.ggml.bos_token_id");
  data.eos_token_id = metadata.Find<int64_t>("tokenizer.ggml.eos_token_id");
  data.eot_token_id = metadata.Find<int64_t>("tokenizer.ggml.eot_token_id");
  data.padding_token_id = metadata.Find<int64_t>("tokenizer.ggml.padding_token_id");
  data.unknown_token_id = metadata.Find<int64_t>("tokenizer.ggml.unknown_token_id");
  data.add_bos_token = metadata.Find<bool>("tokenizer.ggml.add_bos_token");
  data.add_eos_token = metadata.Find<bool>("tokenizer.ggml.add_eos_token");
  data.add_space_prefix = metadata.Find<bool>("tokenizer.ggml.add_space_prefix");
  data.chat_template = metadata.Find<std::string>("tokenizer.chat_template");
  return data;
}

}  // namespace sophia::io
