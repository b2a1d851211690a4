#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/lora/lora.h"
#include "sophia/pjrt/buffer.h"

namespace sophia::lora {

// An adapter folder in PEFT's format: adapter_config.json and adapter_model.safetensors.
// https://huggingface.co/docs/peft/developer_guides/checkpoint

// How the adapter's tensors name a module of the model: "base_model.model." and its path.
std::string AdapterModule(std::string_view module);

// Whether a path is a folder with an adapter's configuration.
bool IsAdapterFolder(const std::filesystem::path& path);

// Reads adapter_config.json. Throws Error for a missing or broken file and for adapters whose maths
// is not implemented, as that of biases.
LoraConfig ReadAdapterConfig(const std::filesystem::path& folder);

// Throws Error when the adapter belongs to another model than `specs` describe: missing, additional
// or differently shaped tensors. Reads no more than the file's header.
void CheckAdapter(const std::filesystem::path& folder, const std::vector<nn::ParamSpec>& specs);

// Replaces the trainable buffers (in the order of `specs`) by the adapter's tensors. Throws Error
// as CheckAdapter does.
void LoadAdapter(const std::filesystem::path& folder, const std::vector<nn::ParamSpec>& specs,
                 const pjrt::Device& device, std::vector<pjrt::Buffer>& buffers);

// Writes the folder's files, each complete or not at all. `trainable` holds the bytes of the
// trainable parameters in the order of `specs`; `base_model` is recorded as
// base_model_name_or_path.
void SaveAdapter(const std::filesystem::path& folder, const LoraConfig& config,
                 const std::vector<nn::ParamSpec>& specs,
                 std::span<const std::vector<std::byte>> trainable, const std::string& base_model);

}  // namespace sophia::lora
