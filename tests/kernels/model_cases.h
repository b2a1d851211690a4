#pragma once

#include <string_view>
#include <vector>

#include "tests/kernels/kernel_case.h"

namespace sophia::kernels {

// The models whose shapes every kernel has to compile for, and "variants" that none of them has.
std::vector<std::string_view> ModelNames();

// All functions of sophia/kernels with their default plans, bf16 activations and 4096 tokens, as a
// LoRA step of the model calls them. Throws Error for another name.
std::vector<KernelCase> ModelCases(std::string_view model);

}  // namespace sophia::kernels
