#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "sophia/lora/lora.h"
#include "sophia/pjrt/buffer.h"

// PiSSA (https://arxiv.org/abs/2404.02948): the factors begin as the principal part of the weights,
// scale · B₀·A₀ of the rank's largest singular values, and the frozen weights are what is left of
// them, W - scale · B₀·A₀. A folder holds the plain adapter of twice the rank that does the same to
// W itself, as PEFT's path_initial_model_for_weight_conversion makes it: A over A₀ and B beside
// -B₀.
namespace sophia::lora {

// Gives A and B (in `buffers`, those of `specs`) the principal factors. The singular vectors come
// from subspace iteration (Halko et al., https://arxiv.org/abs/0909.4061) over 10 more than the
// rank, config.pissa_iterations times or, where that is 0, until the singular values settle within
// 1e-6 of the largest, at most 100 times. Throws Error for packed weights.
void SetPrincipalFactors(const LoraConfig& config, const std::vector<nn::ParamSpec>& specs,
                         uint64_t seed, std::vector<pjrt::Buffer>& buffers);

// Takes scale · B·A of the present factors off the weights.
void SubtractFactors(const LoraConfig& config, const std::vector<nn::ParamSpec>& specs,
                     std::vector<pjrt::Buffer>& buffers);

enum class PissaPart : uint8_t { kTrained, kInitial };
// Replaces the trainable buffers by one part of a folder's adapter. Throws Error as LoadAdapter.
void LoadPissa(const std::filesystem::path& folder, PissaPart part,
               const std::vector<nn::ParamSpec>& specs, std::vector<pjrt::Buffer>& buffers);

// As SaveAdapter; `initial` are the first values of `trainable`.
void SavePissa(const std::filesystem::path& folder, const LoraConfig& config,
               const std::vector<nn::ParamSpec>& specs,
               std::span<const std::vector<std::byte>> trainable,
               std::span<const std::vector<std::byte>> initial, const std::string& base_model);

}  // namespace sophia::lora
