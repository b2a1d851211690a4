#include "sophia/merge/hf_folder.h"

#include <algorithm>
#include <array>
#include <map>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/io/convert.h"
#include "sophia/io/gguf.h"
#include "sophia/io/tokenizer_export.h"
#include "sophia/merge/hf_config.h"
#include "sophia/merge/model_card.h"

namespace sophia::merge {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kWholeModel = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";

// What stands beside the weights of a folder and goes with them.
constexpr auto kTokenizerFiles = std::to_array<std::string_view>({
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
});

// Indices of the weights of each file, in the order of the model.
std::vector<std::vector<size_t>> Shards(const MergedModel& model, const FolderOptions& options) {
  std::vector<std::vector<size_t>> shards(1);
  int64_t bytes = 0;
  for (size_t i = 0; i < model.weights().size(); ++i) {
    const int64_t size = ByteSize(options.dtype, Product(model.weights()[i].dims));
    if (bytes + size > options.max_shard_bytes && !shards.back().empty()) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().push_back(i);
    bytes += size;
  }
  return shards;
}

void WriteShard(const MergedModel& model, const std::vector<size_t>& members, DType dtype,
                const fs::path& path) {
  std::vector<io::NamedShape> shapes;
  std::map<std::string, size_t> places;
  for (const size_t i : members) {
    shapes.push_back({model.weights()[i].name, {dtype, model.weights()[i].dims}});
    places[model.weights()[i].name] = i;
  }
  io::SafetensorsWriter writer(path, std::move(shapes), {{"format", "pt"}});
  for (const io::NamedShape& tensor : writer.order()) {
    const size_t place = places.at(tensor.name);
    const std::vector<float> values = model.Read(place);
    if (dtype == DType::kF16) CheckFitsF16(model.weights()[place], values);
    std::vector<std::byte> bytes(static_cast<size_t>(tensor.shape.bytes()));
    io::ConvertElements(DType::kF32, std::as_bytes(std::span(values)).data(),
                        tensor.shape.elements(), dtype, bytes.data(), tensor.name);
    writer.Append(bytes);
  }
  writer.Commit();
}

void WriteWeights(const MergedModel& model, const fs::path& folder, const FolderOptions& options) {
  const std::vector<std::vector<size_t>> shards = Shards(model, options);
  if (shards.size() == 1) {
    WriteShard(model, shards[0], options.dtype, folder / kWholeModel);
    return;
  }
  Json weight_map = Json::object();
  int64_t total = 0;
  for (size_t shard = 0; shard < shards.size(); ++shard) {
    const std::string name =
        fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards.size());
    WriteShard(model, shards[shard], options.dtype, folder / name);
    for (const size_t i : shards[shard]) {
      weight_map[model.weights()[i].name] = name;
      total += ByteSize(options.dtype, Product(model.weights()[i].dims));
    }
  }
  const Json index{{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  WriteFile(folder / kIndex, Dump(index, 2) + "\n");
}

// Weights of an earlier model, which readers might take instead of the new ones.
void RemoveWeights(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool is_part = name.starts_with("model-") && name.ends_with(".safetensors");
    if (is_part || name == kWholeModel || name == kIndex) found.push_back(entry.path());
  }
  for (const fs::path& path : found) fs::remove(path);
}

void WriteGgufTokenizer(const models::ModelFiles& files, const fs::path& folder) {
  const auto& gguf = dynamic_cast<const io::GgufFile&>(files.tensors());
  if (gguf.metadata().Find("tokenizer.ggml.model") == nullptr) return;
  const io::GgufTokenizerData data = io::ReadGgufTokenizer(gguf.metadata());
  const std::string where = files.path().string();
  const auto positions = Require<int64_t>(files.config(), "max_position_embeddings", where);
  WriteFile(folder / "tokenizer.json", Dump(io::TokenizerJson(data, where)) + "\n");
  WriteFile(folder / "tokenizer_config.json",
            Dump(io::TokenizerConfigJson(data, positions), 2) + "\n");
  Json generation{{"_from_model_config", true}};
  if (data.bos_token_id) generation["bos_token_id"] = *data.bos_token_id;
  if (data.padding_token_id) generation["pad_token_id"] = *data.padding_token_id;
  const std::vector<int32_t> ends = files.LoadTokenizer().eos_ids();
  if (!ends.empty()) generation["eos_token_id"] = ends;
  WriteFile(folder / "generation_config.json", Dump(generation, 2) + "\n");
}

void CopyTokenizer(const fs::path& from, const fs::path& to) {
  for (const std::string_view name : kTokenizerFiles) {
    if (fs::exists(from / name)) WriteFile(to / name, ReadFile(from / name));
  }
}

}  // namespace

void WriteFolder(const MergedModel& model, const fs::path& folder, const FolderOptions& options) {
  const models::ModelFiles& files = model.files();
  if (fs::exists(folder) && fs::equivalent(folder, files.path())) {
    Fail(folder.string(),
         "expected a folder of its own for the merged model, got the base model's");
  }
  const Json config = FolderConfig(model, options.dtype);
  MakeWritableFolder(folder);
  fs::remove(folder / "config.json");
  RemoveWeights(folder);
  WriteWeights(model, folder, options);
  if (files.is_gguf()) {
    WriteGgufTokenizer(files, folder);
  } else {
    CopyTokenizer(files.path(), folder);
  }
  WriteFile(folder / "README.md", ModelCard(model));
  WriteFile(folder / "config.json", Dump(config, 2) + "\n");
}

}  // namespace sophia::merge
