#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "sophia/base/json.h"
#include "sophia/io/tensor_source.h"
#include "sophia/io/tokenizer.h"
#include "sophia/models/bitsandbytes.h"
#include "sophia/nn/param.h"

namespace sophia::models {

// A model on disk: a GGUF file, or a folder with config.json and safetensors, which may be
// quantised by bitsandbytes. All read as Hugging Face's config keys and tensor names.
class ModelFiles {
 public:
  // Throws Error when the files are missing, broken or of an unknown architecture.
  static ModelFiles Open(const std::filesystem::path& path);
  // The same without weights, for a folder that may hold no more than config.json.
  static ModelFiles OpenConfig(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  // Without what says how weights are stored.
  const Json& config() const { return config_; }
  // What errors about the configuration name: the config.json or the GGUF file.
  std::string config_name() const;
  // Not after OpenConfig() of a folder.
  const io::TensorSource& tensors() const { return *tensors_; }
  // The model's tensors, each quantised weight as one.
  std::vector<io::TensorInfo> WholeTensors() const;
  bool is_gguf() const { return is_gguf_; }

  // Whether there is a tokenizer to load.
  bool HasTokenizer() const;
  io::Tokenizer LoadTokenizer() const;

  // Reads one layer of an array as `spec` describes it into `out`. Throws Error when the file's
  // tensor is missing or has another shape.
  void Read(const nn::ParamSpec& spec, int64_t layer, std::span<std::byte> out) const;
  // The same for a packed parameter: all its arrays, `first` and those behind it. Weights that the
  // files do not hold in that format are quantised.
  void ReadPacked(const nn::ParamSpec& first, int64_t layer, quant::PartBytes out) const;

  // The packed format that can hold a weight as the files store it in all its layers; else nullptr.
  // After OpenConfig() of a folder, as config.json says.
  const quant::PackedFormat* StoredFormat(const nn::ParamSpec& spec) const;

 private:
  ModelFiles() = default;
  // The file's name for a layer of a parameter.
  std::string NameOf(const nn::ParamSpec& spec, int64_t layer) const;
  // Heads whose rows a GGUF file keeps in pairs; nothing for other tensors.
  std::optional<int64_t> StoredPairs(const std::string& path) const;
  // The format that keeps one layer as it is stored; nullptr: none does.
  const quant::PackedFormat* LayerFormat(const nn::ParamSpec& spec, int64_t layer) const;
  // A weight that bitsandbytes quantised, of sizes `dims`; nullopt when it is not.
  std::optional<BitsandbytesWeight> FindQuantised(const std::string& name, const Dims& dims) const;
  // As Read, for sizes and a type of its own.
  void ReadAs(const nn::ParamSpec& spec, int64_t layer, const Shape& shape,
              std::span<std::byte> out) const;

  std::filesystem::path path_;
  Json config_;
  std::optional<BitsandbytesConfig> bitsandbytes_;
  std::unique_ptr<io::TensorSource> tensors_;
  bool is_gguf_ = false;
};

}  // namespace sophia::models
