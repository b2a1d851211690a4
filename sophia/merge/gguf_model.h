#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "sophia/merge/merged_model.h"

namespace sophia::merge {

// How a quantisation ("f32", "f16", "bf16", "q8_0", "q4_0" or "q4_k_m") stores one tensor of a
// model of `layers` layers: llama.cpp's mixture, with less dense storage where rows are not whole
// blocks.
std::string GgufStorageFor(std::string_view quantization, const Weight& weight, int64_t layers,
                           bool tied_embeddings);

// Writes the merged model as a GGUF file that llama.cpp runs. Metadata and tokenizer come from the
// base. Throws Error for a tokenizer that GGUF cannot hold.
void WriteGguf(const MergedModel& model, const std::filesystem::path& path,
               std::string_view quantization);

// Writes the adapter alone (general.type "adapter"), f32, for llama.cpp's --lora.
void WriteAdapterGguf(const std::filesystem::path& model, const std::filesystem::path& adapter,
                      const std::filesystem::path& path);

}  // namespace sophia::merge
