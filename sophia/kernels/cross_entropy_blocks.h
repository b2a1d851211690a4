#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "sophia/kernels/linear_cross_entropy.h"

// What the two kernels and the reference of the linear cross-entropy share.
namespace sophia::kernels::cross_entropy {

inline constexpr int64_t kLanes = 128;

struct Problem {
  int64_t tokens, size, vocab;  // N, D, V
  int64_t padded;               // N up to a multiple of 128
  DType hidden, head;           // element types
  DType operands;               // element type of what is multiplied
  bool has_scale;
  double soft_cap;
};

// Checks operands and options. Throws Error naming the operand.
Problem ProblemFor(const Tensor& hidden, const Tensor& head, const Tensor& labels,
                   const KernelTarget& target, const LinearCrossEntropyOptions& options);

enum class Pass : uint8_t { kForward, kBackward };

// Blocks of a pass: those asked for, or the chip's, made smaller until they fit its VMEM.
CrossEntropyBlocks BlocksFor(Pass pass, const Problem& problem, std::optional<pallas::Chip> chip,
                             const CrossEntropyBlocks& asked);

// What to ask for as vmem_limit_bytes; 0 where the chip's default will do.
int64_t VmemLimit(Pass pass, const Problem& problem, const CrossEntropyBlocks& blocks,
                  std::optional<pallas::Chip> chip);

// A kernel's specification but for body, outputs and scratch. Operands: hidden [padded, D], head
// [V, D], `rows` of [1, padded], and the head's scales [1, V] if there are any.
pallas::KernelSpec SpecFor(Pass pass, const Problem& problem, const CrossEntropyBlocks& blocks,
                           std::optional<pallas::Chip> chip, size_t rows);
// The specs of a row [1, padded] and of [padded, D], by blocks of tokens.
pallas::BlockSpec RowSpec(const CrossEntropyBlocks& blocks);
pallas::BlockSpec TokenSpec(const Problem& problem, const CrossEntropyBlocks& blocks);

// A row [1, n] as the lanes of [n, 128], and the first of these lanes, [n, 1].
pallas::Val LanesOf(const pallas::Val& row);
pallas::Val ColumnIn(const pallas::Ref& lanes);

// Calls body(lanes) for parts of the hidden dimension that are small enough for one product.
void ForParts(int64_t size, const std::function<void(const pallas::Index& lanes)>& body);
// A block, or part of one, as an operand of Dot.
pallas::Val Operand(const Problem& problem, const pallas::Ref& part);

// Logits f32 [tokens, vocab] of the blocks in.in[0] and in.in[1]; `scratch` has their shape.
// `slope` is d logits / d (h·W'), undefined where it is 1.
struct Logits {
  pallas::Val value, slope;
};
Logits LogitsOf(const Problem& problem, const pallas::KernelRefs& refs, const pallas::Ref& scratch);

// Gradient of the hidden states [N, D]. `log_sum` and `grad`: f32 [1, padded], grad 0 for ignored
// tokens; the other operands as for SpecFor.
Tensor HiddenGradient(const Problem& problem, const KernelTarget& target,
                      const CrossEntropyBlocks& blocks, const std::vector<Tensor>& operands);

// Mode kReference.
Tensor Reference(const Problem& problem, const std::vector<Tensor>& primals, const Tensor& labels,
                 int64_t chunk);

// Whether the gradient of the head is asked for. Throws Error for one of s8, and for its scales'.
bool WantsHead(const Problem& problem, const std::vector<bool>& wanted);
// d loss / d W = (softmax(l) - onehot(label))ᵀ·h, times `grad`, f32 [N], of each token: [V, D] of
// the head's type, added up in f32 over chunks of tokens by plain ops.
Tensor HeadGradient(const Problem& problem, const Tensor& hidden, const Tensor& head,
                    const Tensor& labels, const Tensor& grad);

}  // namespace sophia::kernels::cross_entropy
