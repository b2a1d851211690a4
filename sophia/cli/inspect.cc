#include <fmt/format.h>

#include <map>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/cli/commands.h"
#include "sophia/cli/conversation.h"
#include "sophia/io/gguf.h"
#include "sophia/io/safetensors.h"
#include "sophia/lora/peft.h"
#include "sophia/models/model_files.h"
#include "sophia/models/model_plan.h"

namespace sophia::cli {
namespace fs = std::filesystem;
namespace {

void PrintLine(std::string_view name, std::string_view text) {
  fmt::print("{:<14}{}\n", name, text);
}

// 135000000 -> "135.0 M".
std::string HumanCount(int64_t count) {
  const auto number = static_cast<double>(count);
  if (count >= 1'000'000'000) return fmt::format("{:.2f} B", number / 1e9);
  if (count >= 1'000'000) return fmt::format("{:.1f} M", number / 1e6);
  return fmt::format("{}", count);
}

void PrintTensors(const std::vector<io::TensorInfo>& tensors, bool all) {
  struct Total {
    int64_t tensors = 0;
    int64_t elements = 0;
    int64_t bytes = 0;
    void Add(const io::TensorInfo& info) {
      ++tensors;
      elements += info.shape.elements();
      bytes += info.stored_bytes;
    }
  };
  const auto print = [](std::string_view name, const Total& total) {
    PrintLine(name, fmt::format("{} in {} tensors, {}", HumanCount(total.elements), total.tensors,
                                HumanBytes(total.bytes)));
  };
  Total whole;
  std::map<std::string, Total> by_storage;
  for (const io::TensorInfo& info : tensors) {
    whole.Add(info);
    by_storage[info.storage].Add(info);
  }
  print("parameters", whole);
  for (const auto& [storage, total] : by_storage) print("  " + storage, total);
  if (!all) return;
  for (const io::TensorInfo& info : tensors) {
    fmt::print("  {} {} {}\n", info.name, info.storage, ToString(info.shape.dims));
  }
}

void PrintTokenizer(const fs::path& model) {
  try {
    const io::Tokenizer tokenizer = OpenTokenizer(model);
    std::string text = fmt::format("{} ids", tokenizer.vocab_size());
    for (const int32_t id : tokenizer.eos_ids()) {
      text += fmt::format(", end {} '{}'", id, tokenizer.TokenText(id).value_or(""));
    }
    PrintLine("tokenizer", text);
    PrintLine("chat template", tokenizer.chat_template() ? "yes" : "none");
  } catch (const Error& error) {
    PrintLine("tokenizer", fmt::format("none: {}", error.what()));
  }
}

// Whether the engine can run it: the sizes, or why not.
void PrintArchitecture(const Json& config, const std::string& where) {
  std::string name = FindOr<std::string>(config, "model_type", "unknown", where);
  PrintLine("architecture", name);
  try {
    const models::ModelPlan plan(config, where, std::make_unique<nn::ParamPolicy>(DType::kF32));
    const models::ModelSizes& sizes = plan.model->sizes();
    PrintLine("sizes",
              fmt::format("{} layers, d_model {}, {} heads of {}, {} kv heads", sizes.layers,
                          sizes.d_model, sizes.heads, sizes.head_dim, sizes.kv_heads));
    PrintLine("vocabulary", fmt::format("{}", sizes.vocab));
    PrintLine("positions", fmt::format("{}", sizes.max_positions));
  } catch (const Error& error) {
    PrintLine("not supported", error.what());
  }
}

void InspectModel(const fs::path& path, bool all) {
  const models::ModelFiles files = models::ModelFiles::Open(path);
  PrintLine("kind", files.is_gguf() ? "GGUF model" : "model folder");
  PrintArchitecture(files.config(), files.config_name());
  PrintTensors(files.WholeTensors(), all);
  PrintTokenizer(path);
}

void InspectGgufAdapter(const io::GgufFile& file, bool all) {
  const io::GgufMetadata& metadata = file.metadata();
  PrintLine("kind", fmt::format("GGUF adapter ({})",
                                metadata.FindOr<std::string>("adapter.type", "type not said")));
  PrintLine("architecture", metadata.FindOr<std::string>("general.architecture", "not said"));
  if (const auto alpha = metadata.Find<double>("adapter.lora.alpha")) {
    PrintLine("alpha", fmt::format("{:g}", *alpha));
  }
  PrintTensors(file.tensors(), all);
}

// Also of GGUF files whose architecture this engine does not know.
void InspectGguf(const fs::path& path, bool all) {
  const io::GgufFile file(path);
  const auto architecture = file.metadata().Find<std::string>("general.architecture");
  if (file.metadata().FindOr<std::string>("general.type", "") == "adapter") {
    return InspectGgufAdapter(file, all);
  }
  if (architecture == "llama") return InspectModel(path, all);
  PrintLine("kind", fmt::format("GGUF version {}", file.version()));
  PrintLine("architecture", architecture.value_or("none") + " (not supported)");
  PrintTensors(file.tensors(), all);
}

void InspectAdapter(const fs::path& path, bool all) {
  const lora::LoraConfig config = lora::ReadAdapterConfig(path);
  const Json json = ReadJson(path / "adapter_config.json");
  PrintLine("kind", config.use_dora ? "DoRA adapter" : "LoRA adapter");
  PrintLine("base model",
            FindOr<std::string>(json, "base_model_name_or_path", "not said", path.string()));
  PrintLine("rank", fmt::format("{}", config.rank));
  PrintLine("alpha", fmt::format("{} (scale {:g}{})", config.alpha, config.scale(),
                                 config.rs_lora ? ", rank-stabilised" : ""));
  if (!config.rank_pattern.empty()) {
    PrintLine("ranks of some", lora::PatternsText(config.rank_pattern));
  }
  if (!config.alpha_pattern.empty()) {
    PrintLine("alphas of some", lora::PatternsText(config.alpha_pattern));
  }
  PrintLine("dropout", fmt::format("{}", config.dropout));
  PrintLine("targets", lora::TargetsText(config.targets));
  if (!config.modules_to_save.empty()) {
    PrintLine("whole modules", Join(config.modules_to_save, ", "));
  }
  PrintTensors(io::SafetensorsFile(path / "adapter_model.safetensors").tensors(), all);
}

}  // namespace

int RunInspect(const Values& values) {
  const fs::path path = values.NeedText("path");
  const bool all = values.Flag("tensors");
  if (!fs::exists(path)) {
    Fail(path.string(), "expected a model, an adapter or a file of tensors, got nothing there");
  }
  if (fs::is_directory(path)) {
    if (lora::IsAdapterFolder(path)) {
      InspectAdapter(path, all);
    } else if (fs::exists(path / "config.json")) {
      InspectModel(path, all);
    } else {
      Fail(path.string(), "expected a folder with config.json or adapter_config.json, got neither");
    }
    return 0;
  }
  const std::unique_ptr<io::TensorSource> source = io::OpenTensors(path);
  if (dynamic_cast<const io::GgufFile*>(source.get()) != nullptr) {
    InspectGguf(path, all);
    return 0;
  }
  PrintLine("kind", "safetensors file");
  PrintTensors(source->tensors(), all);
  return 0;
}

}  // namespace sophia::cli
