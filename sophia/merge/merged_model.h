#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sophia/io/safetensors.h"
#include "sophia/lora/lora.h"
#include "sophia/lora/module_scale.h"
#include "sophia/models/model_files.h"
#include "sophia/models/model_plan.h"

namespace sophia::merge {

struct Weight {
  std::string name;  // as in published checkpoints
  Dims dims;
};

// Throws Error for a value beyond what f16 holds.
void CheckFitsF16(const Weight& weight, const std::vector<float>& values);

// A model on disk with a LoRA adapter merged into its weights, W + scale · B·A (DoRA: its rows
// scaled to the magnitudes), and with the modules that the adapter has as a whole, read one tensor
// at a time. Host memory stays near the size of the largest tensor.
class MergedModel {
 public:
  // Without an adapter (an empty path) the base model alone. Throws Error when the model cannot be
  // read or the adapter is for another one.
  MergedModel(const std::filesystem::path& model, const std::filesystem::path& adapter);

  const models::ModelFiles& files() const { return files_; }
  // The base model's, by its path.
  std::string name() const;
  const std::optional<lora::LoraConfig>& lora() const { return lora_; }
  const std::vector<Weight>& weights() const { return weights_; }
  // Whether the head is a weight of its own, not the embedding: also in a model of tied embeddings
  // of which the adapter has trained one.
  bool has_head() const;
  // Row-major f32 values of one weight.
  std::vector<float> Read(size_t index) const;

 private:
  struct Place {
    size_t spec;
    int64_t layer;
  };
  void AddDelta(const Weight& weight, std::vector<float>& values) const;

  models::ModelFiles files_;
  std::optional<lora::LoraConfig> lora_;
  std::unique_ptr<lora::ModuleScales> scales_;  // of lora_
  std::unique_ptr<io::SafetensorsFile> adapter_;
  std::unique_ptr<models::ModelPlan> plan_;
  std::vector<Weight> weights_;
  std::vector<Place> places_;
};

}  // namespace sophia::merge
