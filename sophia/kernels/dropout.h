#pragma once

#include "sophia/kernels/kernel_target.h"
#include "sophia/kernels/random.h"

namespace sophia::kernels {

struct DropoutOptions {
  double rate = 0;         // of elements that become zero, in [0, 1), to the nearest 1/65536
  int64_t block_rows = 0;  // a multiple of 32; 0: by chip and shape
};

// Zeroes elements of x [..., C] at random and scales the others by 1 / (1 - rate). What is dropped
// depends on key (s32 [2]), place and rate alone: the same on every target, and the gradient makes
// it again instead of saving it.
//
// The row r and column c of x as [rows, C] look at the 16 bits number (r / 8) % 4 of
// Threefry-2x32-20 (https://doi.org/10.1145/2063384.2063405) with counter (r / 32 · 8 + r % 8, c),
// so that one hash serves four elements. Tiles: [block_rows, min(C, 2048)]. VMEM: two blocks twice.
// Numerics: the product is f32, rounded once to x's type.
Tensor Dropout(const Tensor& x, const Tensor& key, const KernelTarget& target,
               const DropoutOptions& options);

}  // namespace sophia::kernels
