#include "sophia/merge/gguf_metadata.h"

#include <array>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/io/gguf_writer.h"
#include "sophia/io/tokenizer_export.h"
#include "sophia/models/llama.h"

namespace sophia::merge {
namespace fs = std::filesystem;
namespace {

// llama.cpp's numbers of file types.
constexpr std::array<std::pair<std::string_view, uint64_t>, 6> kFileTypes = {
    {{"f32", 0}, {"f16", 1}, {"q4_0", 2}, {"q8_0", 7}, {"q4_k_m", 15}, {"bf16", 32}}};

uint64_t FileType(std::string_view quantization) {
  for (const auto& [name, type] : kFileTypes) {
    if (name == quantization) return type;
  }
  SOPHIA_CHECK(false, "no file type for {}", quantization);
}

models::LlamaConfig ConfigOf(const MergedModel& model) {
  return models::LlamaConfig::FromJson(model.files().config(), model.files().config_name());
}

std::vector<io::GgufEntry> FromConfig(const MergedModel& model) {
  const models::LlamaConfig c = ConfigOf(model);
  const auto count = [](int64_t value) { return io::GgufCount(static_cast<uint64_t>(value)); };
  std::vector<io::GgufEntry> entries = {
      {"general.architecture", io::GgufText("llama")},
      {"general.type", io::GgufText("model")},
      {"general.name", io::GgufText(model.name())},
      {"llama.block_count", count(c.layers)},
      {"llama.context_length", count(c.max_positions)},
      {"llama.embedding_length", count(c.d_model)},
      {"llama.feed_forward_length", count(c.d_ff)},
      {"llama.attention.head_count", count(c.heads)},
      {"llama.attention.head_count_kv", count(c.kv_heads)},
      {"llama.attention.key_length", count(c.head_dim)},
      {"llama.attention.value_length", count(c.head_dim)},
      {"llama.attention.layer_norm_rms_epsilon", io::GgufNumber(c.norm_eps)},
      {"llama.rope.dimension_count", count(c.head_dim)},
      {"llama.rope.freq_base", io::GgufNumber(c.rope.theta)},
      {"llama.vocab_size", count(c.vocab)},
  };
  if (c.rope.scaling == nn::RopeConfig::Scaling::kLinear) {
    entries.push_back({"llama.rope.scaling.type", io::GgufText("linear")});
    entries.push_back({"llama.rope.scaling.factor", io::GgufNumber(c.rope.factor)});
  }
  if (fs::exists(model.files().path() / "tokenizer.json")) {
    for (io::GgufEntry& entry :
         io::GgufTokenizerEntries(io::GgufTokenizerFromFolder(model.files().path(), c.vocab))) {
      entries.push_back(std::move(entry));
    }
  }
  return entries;
}

}  // namespace

std::vector<io::GgufEntry> GgufMetadataFor(const MergedModel& model,
                                           std::string_view quantization) {
  std::vector<io::GgufEntry> entries;
  const auto* gguf = dynamic_cast<const io::GgufFile*>(&model.files().tensors());
  entries = gguf != nullptr ? gguf->metadata().entries() : FromConfig(model);
  std::erase_if(entries, [](const io::GgufEntry& entry) {
    return entry.key == "general.file_type" || entry.key == "general.quantization_version" ||
           entry.key == "general.alignment";
  });
  entries.push_back({"general.file_type", io::GgufCount(FileType(quantization))});
  entries.push_back({"general.quantization_version", io::GgufCount(2)});
  return entries;
}

std::vector<float> RopeDivisors(const MergedModel& model) {
  const models::LlamaConfig c = ConfigOf(model);
  if (!c.rope.frequency_divisors.empty()) return c.rope.frequency_divisors;
  if (c.rope.scaling != nn::RopeConfig::Scaling::kLlama3) return {};
  const std::vector<float> plain = nn::RopeFrequencies({.theta = c.rope.theta}, c.head_dim);
  std::vector<float> divisors = nn::RopeFrequencies(c.rope, c.head_dim);
  for (size_t i = 0; i < divisors.size(); ++i) divisors[i] = plain[i] / divisors[i];
  return divisors;
}

}  // namespace sophia::merge
