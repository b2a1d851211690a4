#pragma once

#include "sophia/kernels/kernel_target.h"

namespace sophia::kernels {

// Which elements of a head are rotated together.
enum class RotaryLayout : uint8_t {
  kHalves,       // i and i + D/2: Llama, Qwen and Gemma as Hugging Face stores them
  kInterleaved,  // 2 i and 2 i + 1: the paper, GPT-J
};

// Angles of every position, as the kernel takes them: for each element of a head its cosine, then
// the sine by which its partner is multiplied. Layers share it.
struct RotaryTable {
  Tensor rows;  // f32 [B, S, 2 D]
  RotaryLayout layout;
};
// cos, sin: f32 [B, S, 1, D/2], of any positions, as nn::MakeRopeTable makes them.
RotaryTable MakeRotaryTable(const Tensor& cos, const Tensor& sin, RotaryLayout layout);

struct RotaryOptions {
  int64_t block_rows = 0;  // a multiple of 16; 0: by chip and shape
};

struct Rotated {
  Tensor q;
  Tensor k;
};
// Rotary position embedding (https://arxiv.org/abs/2104.09864) of queries [B, S, H, D] and keys
// [B, S, K, D] in one kernel. Backward is the same kernel with the opposite angle; the table has no
// gradient and nothing else is saved.
//
// Tiles: rows of B · S positions with all heads side by side, so that head sizes below 128 waste no
// lanes; partners are found by rolls over lanes. VMEM: twice 2 (H + K) D elements a row for
// operands and results and 2 D f32 for the table, each in whole 128 lanes. Numerics: f32 inside,
// one rounding.
Rotated Rotary(const Tensor& q, const Tensor& k, const RotaryTable& table,
               const KernelTarget& target, const RotaryOptions& options = {});

}  // namespace sophia::kernels
