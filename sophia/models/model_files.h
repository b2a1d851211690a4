#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "sophia/base/json.h"
#include "sophia/io/tensor_source.h"
#include "sophia/io/tokenizer.h"
#include "sophia/nn/param.h"

namespace sophia::models {

// A model on disk: a GGUF file, or a folder with config.json and safetensors. Both read as Hugging
// Face's config keys and tensor names.
class ModelFiles {
 public:
  // Throws Error when the files are missing, broken or of an unknown architecture.
  static ModelFiles Open(const std::filesystem::path& path);
  // The same without weights, for a folder that may hold no more than config.json.
  static ModelFiles OpenConfig(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const Json& config() const { return config_; }
  // What errors about the configuration name: the config.json or the GGUF file.
  std::string config_name() const;
  // Not after OpenConfig() of a folder.
  const io::TensorSource& tensors() const { return *tensors_; }
  bool is_gguf() const { return is_gguf_; }

  // Whether there is a tokenizer to load; a folder may be without.
  bool HasTokenizer() const;
  io::Tokenizer LoadTokenizer() const;

  // Reads one layer of an array as `spec` describes it into `out`. Throws Error when the file's
  // tensor is missing or has another shape.
  void Read(const nn::ParamSpec& spec, int64_t layer, std::span<std::byte> out) const;
  // The same for a packed parameter: all its arrays, `first` and those behind it. Weights that the
  // file does not hold in that format are quantised.
  void ReadPacked(const nn::ParamSpec& first, int64_t layer, quant::PartBytes out) const;

  // The packed format that can hold a weight as a GGUF file stores it in all its layers; else
  // nullptr.
  const quant::PackedFormat* StoredFormat(const nn::ParamSpec& spec) const;

 private:
  ModelFiles() = default;
  // The file's name for a layer of a parameter.
  std::string NameOf(const nn::ParamSpec& spec, int64_t layer) const;
  // Heads whose rows a GGUF file keeps in pairs; nothing for other tensors.
  std::optional<int64_t> StoredPairs(const std::string& path) const;
  // As Read, for sizes and a type of its own.
  void ReadAs(const nn::ParamSpec& spec, int64_t layer, const Shape& shape,
              std::span<std::byte> out) const;

  std::filesystem::path path_;
  Json config_;
  std::unique_ptr<io::TensorSource> tensors_;
  bool is_gguf_ = false;
};

}  // namespace sophia::models
