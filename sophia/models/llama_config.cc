#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/models/config_keys.h"
#include "sophia/models/llama.h"

namespace sophia::models {
namespace {

const std::vector<std::string>& LlamaKeys() {
  static const std::vector<std::string> kKeys = {"attention_bias",
                                                 "attention_dropout",
                                                 "head_dim",
                                                 "hidden_act",
                                                 "hidden_size",
                                                 "intermediate_size",
                                                 "mlp_bias",
                                                 "max_position_embeddings",
                                                 "num_attention_heads",
                                                 "num_hidden_layers",
                                                 "num_key_value_heads",
                                                 "rms_norm_eps",
                                                 "rope_interleaved",
                                                 "rope_parameters",
                                                 "rope_scaling",
                                                 "rope_theta",
                                                 "tie_word_embeddings",
                                                 "vocab_size",
                                                 "sliding_window",
                                                 "rope_frequency_divisors"};
  return kKeys;
}

int64_t Positive(const Json& json, std::string_view key, std::string_view where) {
  const auto value = Require<int64_t>(json, key, where);
  if (value <= 0) Fail(where, "expected '{}' above 0, got {}", key, value);
  return value;
}

double PositiveNumber(const Json& json, std::string_view key, std::string_view where) {
  const auto value = Require<double>(json, key, where);
  if (!(value > 0)) Fail(where, "expected '{}' above 0, got {}", key, value);
  return value;
}

const std::vector<std::string>& RopeKeys() {
  static const std::vector<std::string> kKeys = {"factor",
                                                 "high_freq_factor",
                                                 "low_freq_factor",
                                                 "original_max_position_embeddings",
                                                 "rope_theta",
                                                 "rope_type",
                                                 "type"};
  return kKeys;
}

void ReadScaling(const Json& json, std::string_view where, nn::RopeConfig& rope) {
  const std::string type = FindOr<std::string>(
      json, "rope_type", FindOr<std::string>(json, "type", "default", where), where);
  if (type == "default") return;
  rope.factor = PositiveNumber(json, "factor", where);
  if (type == "linear") {
    rope.scaling = nn::RopeConfig::Scaling::kLinear;
  } else if (type == "llama3") {
    rope.scaling = nn::RopeConfig::Scaling::kLlama3;
    rope.low_freq_factor = PositiveNumber(json, "low_freq_factor", where);
    rope.high_freq_factor = PositiveNumber(json, "high_freq_factor", where);
    rope.original_max_positions = Positive(json, "original_max_position_embeddings", where);
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      Fail(where, "expected high_freq_factor above low_freq_factor, got {} and {}",
           rope.high_freq_factor, rope.low_freq_factor);
    }
  } else {
    Fail(where, "expected a rope type of default, linear or llama3, got '{}'", type);
  }
}

nn::RopeConfig ReadRope(const Json& json, int64_t head_dim, std::string_view where) {
  nn::RopeConfig rope;
  rope.theta = FindOr<double>(json, "rope_theta", rope.theta, where);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto it = json.find(key);
    if (it == json.end() || it->is_null()) continue;
    const std::string inside = fmt::format("{}: {}", where, key);
    CheckConfigKeys(*it, RopeKeys(), inside);
    rope.theta = FindOr<double>(*it, "rope_theta", rope.theta, inside);
    ReadScaling(*it, inside, rope);
  }
  if (const auto it = json.find("rope_frequency_divisors"); it != json.end()) {
    const auto is_number = [](const Json& value) { return value.is_number(); };
    if (!it->is_array() || static_cast<int64_t>(it->size()) != head_dim / 2 ||
        !std::all_of(it->begin(), it->end(), is_number)) {
      Fail(where, "expected {} numbers for 'rope_frequency_divisors', half of head_dim, got {}",
           head_dim / 2, it->is_array() ? fmt::format("{}", it->size()) : Dump(*it));
    }
    rope.frequency_divisors = it->get<std::vector<float>>();
  }
  if (!(rope.theta > 0)) Fail(where, "expected 'rope_theta' above 0, got {}", rope.theta);
  return rope;
}

// Values that other models of the family use and that are not implemented here.
void CheckFixedValues(const Json& json, std::string_view where) {
  const auto activation = FindOr<std::string>(json, "hidden_act", "silu", where);
  if (activation != "silu" && activation != "swish") {
    Fail(where, "expected 'hidden_act' silu, got '{}'", activation);
  }
  if (FindOr<double>(json, "attention_dropout", 0, where) != 0) {
    Fail(where, "expected 'attention_dropout' 0, got {}", Dump(json["attention_dropout"]));
  }
  if (FindOr<bool>(json, "rope_interleaved", false, where)) {
    Fail(where, "expected 'rope_interleaved' false, got true");
  }
  if (Find<int64_t>(json, "sliding_window", where)) {
    Fail(where, "expected no 'sliding_window', got {}", Dump(json["sliding_window"]));
  }
}

}  // namespace

LlamaConfig LlamaConfig::FromJson(const Json& json, std::string_view where) {
  CheckConfigKeys(json, LlamaKeys(), where);
  CheckFixedValues(json, where);
  LlamaConfig c;
  c.vocab = Positive(json, "vocab_size", where);
  c.d_model = Positive(json, "hidden_size", where);
  c.layers = Positive(json, "num_hidden_layers", where);
  c.heads = Positive(json, "num_attention_heads", where);
  c.kv_heads = FindOr<int64_t>(json, "num_key_value_heads", c.heads, where);
  c.d_ff = Positive(json, "intermediate_size", where);
  if (c.kv_heads <= 0 || c.heads % c.kv_heads != 0) {
    Fail(where, "expected 'num_key_value_heads' to divide {} heads, got {}", c.heads, c.kv_heads);
  }
  const std::optional<int64_t> head_dim = Find<int64_t>(json, "head_dim", where);
  if (!head_dim && c.d_model % c.heads != 0) {
    Fail(where, "expected 'num_attention_heads' to divide hidden_size {}, got {}", c.d_model,
         c.heads);
  }
  c.head_dim = head_dim.value_or(c.d_model / c.heads);
  if (c.head_dim <= 0 || c.head_dim % 2 != 0) {
    Fail(where, "expected an even 'head_dim' above 0, got {}", c.head_dim);
  }
  c.max_positions = FindOr<int64_t>(json, "max_position_embeddings", 2048, where);
  c.norm_eps = FindOr<double>(json, "rms_norm_eps", c.norm_eps, where);
  c.attention_bias = FindOr<bool>(json, "attention_bias", false, where);
  c.mlp_bias = FindOr<bool>(json, "mlp_bias", false, where);
  c.tied_embeddings = FindOr<bool>(json, "tie_word_embeddings", false, where);
  c.rope = ReadRope(json, c.head_dim, where);
  return c;
}

}  // namespace sophia::models
