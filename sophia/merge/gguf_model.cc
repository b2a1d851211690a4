#include "sophia/merge/gguf_model.h"

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/io/gguf_blocks.h"
#include "sophia/io/gguf_encode.h"
#include "sophia/io/gguf_writer.h"
#include "sophia/lora/module_scale.h"
#include "sophia/lora/peft.h"
#include "sophia/merge/gguf_metadata.h"
#include "sophia/models/gguf_llama.h"

namespace sophia::merge {
namespace fs = std::filesystem;
namespace {

constexpr const char* kRopeDivisors = "rope_freqs.weight";

void PairHeads(const models::ModelFiles& files, std::string_view name, int64_t rows,
               std::vector<float>& values) {
  const auto heads = models::PairedHeads(files.config(), name, files.config_name());
  if (!heads) return;
  models::PairRows(std::as_writable_bytes(std::span(values)), *heads,
                   values.size() * sizeof(float) / static_cast<size_t>(rows));
}

std::vector<std::byte> Encoded(const std::vector<float>& values, const std::string& storage) {
  const io::Storage layout = io::GgufStorage(io::GgufTypeOf(storage).value()).value();
  const auto blocks = values.size() / static_cast<size_t>(layout.block_elements);
  std::vector<std::byte> bytes(blocks * static_cast<size_t>(layout.block_bytes));
  io::EncodeGguf(storage, values, bytes);
  return bytes;
}

// The module of a factor's name in the adapter's file.
std::string ModuleOf(std::string_view name) {
  const size_t prefix = lora::AdapterModule("").size();
  return std::string(
      name.substr(prefix, name.size() - prefix - std::string_view(".lora_A.weight").size()));
}

// The adapter's name of a factor as llama.cpp calls it: "blk.0.attn_q.weight.lora_a".
std::string AdapterTensorName(std::string_view name) {
  const bool is_a = name.ends_with(".lora_A.weight");
  return models::LlamaGgufName(ModuleOf(name) + ".weight") + (is_a ? ".lora_a" : ".lora_b");
}

}  // namespace

void WriteGguf(const MergedModel& model, const fs::path& path, std::string_view quantization) {
  const models::ModelFiles& files = model.files();
  const auto layers = Require<int64_t>(files.config(), "num_hidden_layers", files.config_name());
  const std::vector<float> divisors = RopeDivisors(model);
  std::vector<io::GgufTensor> tensors;
  if (!divisors.empty()) {
    tensors.push_back({kRopeDivisors, {static_cast<int64_t>(divisors.size())}, "F32"});
  }
  for (const Weight& weight : model.weights()) {
    tensors.push_back({models::LlamaGgufName(weight.name), weight.dims,
                       GgufStorageFor(quantization, weight, layers, !model.has_head())});
  }
  io::GgufWriter writer(path, GgufMetadataFor(model, quantization), tensors);
  if (!divisors.empty()) writer.Append(std::as_bytes(std::span(divisors)));
  const size_t first = divisors.empty() ? 0 : 1;
  for (size_t i = 0; i < model.weights().size(); ++i) {
    std::vector<float> values = model.Read(i);
    if (tensors[first + i].storage == "F16") CheckFitsF16(model.weights()[i], values);
    PairHeads(files, model.weights()[i].name, model.weights()[i].dims[0], values);
    writer.Append(Encoded(values, tensors[first + i].storage));
  }
  writer.Commit();
}

void WriteAdapterGguf(const fs::path& model, const fs::path& adapter, const fs::path& path) {
  const MergedModel merged(model, adapter);  // checks that they belong together
  const lora::LoraConfig& config = *merged.lora();
  if (config.use_dora) {
    Fail(adapter.string(),
         "expected an adapter without magnitudes (DoRA), which llama.cpp cannot apply; "
         "`sophia export` without --adapter-only merges it");
  }
  if (!config.modules_to_save.empty()) {
    Fail(
        adapter.string(),
        "expected an adapter without modules_to_save, whose tensors llama.cpp takes from the model "
        "alone, got {}; `sophia export` without --adapter-only merges it",
        Join(config.modules_to_save, ", "));
  }
  const io::SafetensorsFile file(adapter / "adapter_model.safetensors");
  std::vector<io::GgufTensor> tensors;
  for (const io::TensorInfo& info : file.tensors()) {
    tensors.push_back({AdapterTensorName(info.name), info.shape.dims, "F32"});
  }
  // llama.cpp scales by alpha / rank, with one alpha for all modules: B takes what differs.
  const lora::ModuleScales scales(config);
  const double alpha = config.scale() * static_cast<double>(config.rank);
  io::GgufWriter writer(path,
                        {{"general.architecture", io::GgufText("llama")},
                         {"general.type", io::GgufText("adapter")},
                         {"adapter.type", io::GgufText("lora")},
                         {"adapter.lora.alpha", io::GgufNumber(alpha)},
                         {"general.file_type", io::GgufCount(0)},
                         {"general.quantization_version", io::GgufCount(2)}},
                        tensors);
  for (const io::TensorInfo& info : file.tensors()) {
    std::vector<float> values(static_cast<size_t>(info.shape.elements()));
    file.Read(info.name, DType::kF32, std::span(values));
    if (info.name.ends_with("lora_B.weight")) {
      PairHeads(merged.files(), info.name, info.shape.dims[0], values);
      const lora::ModuleScale own = scales.Of(ModuleOf(info.name));
      const double factor = own.scale * static_cast<double>(own.rank) / alpha;
      for (float& value : values) value = static_cast<float>(value * factor);
    }
    writer.Append(std::as_bytes(std::span(values)));
  }
  writer.Commit();
}

}  // namespace sophia::merge
