#pragma once

#include <cstdint>
#include <filesystem>

#include "sophia/merge/merged_model.h"

namespace sophia::merge {

struct FolderOptions {
  DType dtype = DType::kBF16;  // of all weights: bf16, f16 or f32
  int64_t max_shard_bytes = 5'000'000'000;
};

// Writes a model folder as Hugging Face's libraries read it: config.json, safetensors (with an
// index when there is more than one), tokenizer files, generation_config.json and a model card.
// config.json comes last, so that a folder that has one is complete. Throws Error when `folder` is
// the model's own, or when a GGUF file's rotary scaling has no form in config.json.
void WriteFolder(const MergedModel& model, const std::filesystem::path& folder,
                 const FolderOptions& options);

}  // namespace sophia::merge
