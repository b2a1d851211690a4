#include "sophia/models/config_keys.h"

#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"

namespace sophia::models {

const std::vector<std::string>& HarmlessConfigKeys() {
  static const std::vector<std::string> kKeys = {
      "architectures",
      "auto_map",
      "bad_words_ids",
      "begin_suppress_tokens",
      "bos_token_id",
      "chunk_size_feed_forward",
      "cross_attention_hidden_size",
      "decoder_start_token_id",
      "diversity_penalty",
      "do_sample",
      "dtype",
      "early_stopping",
      "encoder_no_repeat_ngram_size",
      "eos_token_id",
      "exponential_decay_length_penalty",
      "finetuning_task",
      "forced_bos_token_id",
      "forced_eos_token_id",
      "id2label",
      "initializer_range",
      "is_decoder",
      "is_encoder_decoder",
      "is_llama_config",
      "label2id",
      "length_penalty",
      "max_length",
      "min_length",
      "model_type",
      "name_or_path",
      "no_repeat_ngram_size",
      "num_beam_groups",
      "num_beams",
      "num_return_sequences",
      "output_attentions",
      "output_hidden_states",
      "output_scores",
      "pad_token_id",
      "prefix",
      "pretraining_tp",  // splits matrix products, with equal results
      "problem_type",
      "remove_invalid_values",
      "repetition_penalty",
      "return_dict",
      "return_dict_in_generate",
      "sep_token_id",
      "suppress_tokens",
      "task_specific_params",
      "temperature",
      "tf_legacy_loss",
      "tokenizer_class",
      "top_k",
      "top_p",
      "torch_dtype",
      "torchscript",
      "transformers.js_config",
      "transformers_version",
      "typical_p",
      "unsloth_fixed",
      "unsloth_version",
      "use_bfloat16",
      "use_cache",
  };
  return kKeys;
}

void CheckConfigKeys(const Json& config, const std::vector<std::string>& known,
                     std::string_view where) {
  const auto contains = [](const std::vector<std::string>& keys, const std::string& key) {
    return std::find(keys.begin(), keys.end(), key) != keys.end();
  };
  for (const auto& [key, value] : config.items()) {
    if (value.is_null() || key.starts_with('_') || contains(known, key) ||
        contains(HarmlessConfigKeys(), key)) {
      continue;
    }
    Fail(where, "expected keys whose maths is implemented, got '{}': {}{}", key,
         Dump(value).substr(0, 80), DidYouMean(key, known));
  }
}

}  // namespace sophia::models
