#include "sophia/lora/peft.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <set>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/base/strings.h"
#include "sophia/io/safetensors.h"

namespace sophia::lora {
namespace fs = std::filesystem;
namespace {

bool IsEmpty(const Json& value) {
  return value.is_null() || value == false ||
         ((value.is_object() || value.is_array()) && value.empty());
}

constexpr std::string_view kConfigFile = "adapter_config.json";

// Keys that are read below or checked here, and keys that never change the maths.
constexpr auto kKnownKeys = std::to_array<std::string_view>({
    "peft_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "use_rslora",
    "use_dora",
    "rank_pattern",
    "alpha_pattern",
    "target_modules",
    "bias",
    "init_lora_weights",
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "megatron_core",
    "modules_to_save",
    "peft_version",
    "qalora_group_size",
    "revision",
    "task_type",
});

// Throws for keys that are set and may change the maths, among them what PEFT may bring one day.
void CheckUnsupported(const Json& json, std::string_view where) {
  for (const auto& [key, value] : json.items()) {
    if (!IsEmpty(value) && std::ranges::find(kKnownKeys, key) == kKnownKeys.end()) {
      Fail(where, "expected no '{}', got {}", key, Dump(value).substr(0, 80));
    }
  }
  if (const auto bias = FindOr<std::string>(json, "bias", "none", where); bias != "none") {
    Fail(where, "expected 'bias' none, got '{}'", bias);
  }
  // PiSSA, OLoRA, CorDA, LoftQ and others change the base weights too.
  const Json init = json.value("init_lora_weights", Json(true));
  if (!IsEmpty(init) && init != true && init != "gaussian" && init != "orthogonal") {
    Fail(where,
         "expected 'init_lora_weights' that keeps the base weights (true, false, gaussian or "
         "orthogonal), got {}",
         Dump(init).substr(0, 80));
  }
}

std::string AdapterName(const nn::ParamSpec& spec, int64_t layer) {
  return AdapterModule(spec.PathOf(layer));
}

size_t LayerBytes(const nn::ParamSpec& spec) {
  return static_cast<size_t>(ByteSize(spec.dtype, Product(spec.dims)));
}

template <typename T>
std::vector<std::pair<std::string, T>> PatternsOf(const Json& config, const char* key,
                                                  std::string_view where) {
  std::vector<std::pair<std::string, T>> patterns;
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return patterns;
  if (!found->is_object()) Fail(where, "expected '{}' as an object, got {}", key, Dump(*found));
  for (const auto& [pattern, value] : found->items()) {
    patterns.emplace_back(pattern, Require<T>(*found, pattern, where));
  }
  return patterns;
}

// Bytes of the leading part `dims` of rows of an array of sizes `outer`, both matrices or of equal
// sizes: to it, or from it.
void CopyPart(const Dims& dims, const Dims& outer, int64_t element, const std::byte* from,
              std::byte* to, bool to_outer) {
  const int64_t row = dims.back() * element;
  const int64_t outer_row = outer.back() * element;
  const int64_t rows = Product(dims) / dims.back();
  for (int64_t i = 0; i < rows; ++i) {
    std::memcpy(to + i * (to_outer ? outer_row : row), from + i * (to_outer ? row : outer_row),
                static_cast<size_t>(row));
  }
}

Json ConfigJson(const LoraConfig& config, const std::string& base_model) {
  Json targets;
  if (const auto* names = std::get_if<std::vector<std::string>>(&config.targets)) {
    targets = *names;
  } else {
    targets = std::get<std::string>(config.targets);
  }
  return {{"peft_type", "LORA"},
          {"task_type", "CAUSAL_LM"},
          {"base_model_name_or_path", base_model},
          {"revision", nullptr},
          {"inference_mode", true},
          {"r", config.rank},
          {"lora_alpha", config.alpha},
          {"lora_dropout", config.dropout},
          {"target_modules", targets},
          {"use_rslora", config.rs_lora},
          {"use_dora", config.use_dora},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"init_lora_weights", true},
          {"modules_to_save",
           config.modules_to_save.empty() ? Json(nullptr) : Json(config.modules_to_save)},
          {"layers_to_transform", nullptr},
          {"layers_pattern", nullptr},
          {"rank_pattern", PatternsJson(config.rank_pattern)},
          {"alpha_pattern", PatternsJson(config.alpha_pattern)}};
}

fs::path TensorsOf(const fs::path& folder) { return folder / "adapter_model.safetensors"; }

// The file must have the tensors of the trainable parameters and no others.
void CheckTensors(const io::SafetensorsFile& file, const std::vector<nn::ParamSpec>& specs) {
  std::set<std::string> used;
  for (const nn::ParamSpec& spec : specs) {
    if (!spec.trainable) continue;
    for (const int64_t layer : spec.PresentLayers()) {
      const std::string name = AdapterName(spec, layer);
      const io::TensorInfo* info = file.Find(name);
      if (info == nullptr) {
        Fail(file.path().string(), "expected the tensor '{}' for this model, got none", name);
      }
      if (info->shape.dims != spec.DimsOf(layer)) {
        Fail(file.path().string(), "expected '{}' of sizes {} for this model, got {}", name,
             ToString(spec.DimsOf(layer)), ToString(info->shape.dims));
      }
      used.insert(name);
    }
  }
  for (const io::TensorInfo& info : file.tensors()) {
    if (!used.contains(info.name)) {
      Fail(file.path().string(), "expected tensors of this model and its target modules, got '{}'",
           info.name);
    }
  }
}

}  // namespace

std::string AdapterModule(std::string_view module) {
  return fmt::format("base_model.model.{}", module);
}

bool IsAdapterFolder(const fs::path& path) { return fs::exists(path / kConfigFile); }

LoraConfig ReadAdapterConfig(const fs::path& folder) {
  const fs::path path = folder / kConfigFile;
  const std::string where = path.string();
  if (!fs::is_directory(folder)) {
    Fail(folder.string(), "expected an adapter folder, got {}",
         fs::exists(folder) ? "a file" : "nothing there");
  }
  const Json json = ReadJson(path);
  const auto type = Require<std::string>(json, "peft_type", where);
  if (type != "LORA") Fail(where, "expected 'peft_type' LORA, got '{}'", type);
  CheckUnsupported(json, where);
  LoraConfig config;
  config.rank = FindOr<int64_t>(json, "r", 8, where);
  config.alpha = FindOr<double>(json, "lora_alpha", 8, where);
  config.dropout = FindOr<double>(json, "lora_dropout", 0, where);
  config.rs_lora = FindOr<bool>(json, "use_rslora", false, where);
  config.use_dora = FindOr<bool>(json, "use_dora", false, where);
  config.rank_pattern = PatternsOf<int64_t>(json, "rank_pattern", where);
  config.alpha_pattern = PatternsOf<double>(json, "alpha_pattern", where);
  if (json.contains("modules_to_save") && !json["modules_to_save"].is_null()) {
    config.modules_to_save = Require<std::vector<std::string>>(json, "modules_to_save", where);
  }
  const auto targets = json.find("target_modules");
  if (targets != json.end() && targets->is_string()) {
    config.targets = targets->get<std::string>();
  } else {
    config.targets = Require<std::vector<std::string>>(json, "target_modules", where);
  }
  config.Check(where);
  return config;
}

void CheckAdapter(const fs::path& folder, const std::vector<nn::ParamSpec>& specs) {
  CheckTensors(io::SafetensorsFile(TensorsOf(folder)), specs);
}

void LoadAdapter(const fs::path& folder, const std::vector<nn::ParamSpec>& specs,
                 const pjrt::Device& device, std::vector<pjrt::Buffer>& buffers) {
  const io::SafetensorsFile file(TensorsOf(folder));
  CheckTensors(file, specs);
  std::vector<pjrt::Buffer> loaded;
  for (const nn::ParamSpec& spec : specs) {
    if (!spec.trainable) continue;
    const Shape shape = spec.shape();
    std::vector<std::byte> bytes(static_cast<size_t>(shape.bytes()));
    const size_t layer_bytes = LayerBytes(spec);
    for (const int64_t layer : spec.PresentLayers()) {
      const auto slice =
          std::span(bytes).subspan(static_cast<size_t>(layer) * layer_bytes, layer_bytes);
      if (spec.layer_dims.empty()) {
        file.Read(AdapterName(spec, layer), spec.dtype, slice);
        continue;
      }
      const Dims& dims = spec.DimsOf(layer);
      std::vector<std::byte> part(static_cast<size_t>(ByteSize(spec.dtype, Product(dims))));
      file.Read(AdapterName(spec, layer), spec.dtype, std::span(part));
      CopyPart(dims, spec.dims, ByteSize(spec.dtype, 1), part.data(), slice.data(), true);
    }
    loaded.push_back(pjrt::Buffer::FromHost(device, shape, bytes));
  }
  auto next = loaded.begin();
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].trainable) buffers[i] = std::move(*next++);
  }
}

void SaveAdapter(const fs::path& folder, const LoraConfig& config,
                 const std::vector<nn::ParamSpec>& specs,
                 std::span<const std::vector<std::byte>> trainable, const std::string& base_model) {
  MakeWritableFolder(folder);
  std::vector<io::TensorView> tensors;
  std::deque<std::vector<std::byte>> parts;  // of layers that differ in size
  auto array = trainable.begin();
  for (const nn::ParamSpec& spec : specs) {
    if (!spec.trainable) continue;
    const std::span<const std::byte> bytes = *array++;
    const size_t layer_bytes = LayerBytes(spec);
    for (const int64_t layer : spec.PresentLayers()) {
      auto values = bytes.subspan(static_cast<size_t>(layer) * layer_bytes, layer_bytes);
      const Dims& dims = spec.DimsOf(layer);
      if (!spec.layer_dims.empty()) {
        auto& part = parts.emplace_back(static_cast<size_t>(ByteSize(spec.dtype, Product(dims))));
        CopyPart(dims, spec.dims, ByteSize(spec.dtype, 1), values.data(), part.data(), false);
        values = part;
      }
      tensors.push_back({AdapterName(spec, layer), {spec.dtype, dims}, values});
    }
  }
  const fs::path config_path = folder / kConfigFile;
  io::SafetensorsWriter tensor_file(TensorsOf(folder), tensors, {{"format", "pt"}});
  AtomicFile config_file(config_path);
  config_file.Write(Dump(ConfigJson(config, base_model), 2) + "\n");
  tensor_file.Close();
  config_file.Close();
  // New tensors beside an older adapter's configuration could load with another scale: a folder
  // without a configuration cannot.
  fs::remove(config_path);
  tensor_file.Commit();
  config_file.Commit();
}

}  // namespace sophia::lora
