#pragma once

#include <functional>
#include <vector>

#include "sophia/kernels/flash_attention.h"
#include "sophia/kernels/flash_plan.h"

// What the forward and the backward kernels of flash attention share.
namespace sophia::kernels::flash {

inline constexpr double kMasked = -1e30;
inline constexpr int64_t kLanes = 128;

// One kernel on given shapes.
struct Problem {
  KernelTarget target;
  AttentionMask mask;
  FlashBlocks blocks;
  int64_t batch, heads, kv_heads, length, head_dim;
  int64_t padded;  // length, up to a multiple of both blocks
  DType dtype;

  int64_t group() const { return heads / kv_heads; }
  bool has_segments() const { return mask.segments.defined(); }
  int64_t query_blocks() const { return padded / blocks.q; }
  int64_t key_blocks() const { return padded / blocks.k; }

  // Operands as the kernels take them, padded, and results back.
  Tensor ToKernel(const Tensor& x) const;                   // [B, T, N, D]
  Tensor FromKernel(const Tensor& x, int64_t heads) const;  // to [B, T, N, D]
  Tensor PadRows(const Tensor& x) const;                    // [B, H, 1, T]
  Tensor CutRows(const Tensor& x) const;
  Tensor SegmentRows() const;  // s32 [B, 1, padded]
  // For each block of queries, the first and the last block of keys that may hold one of its
  // segments: s32 [B · query_blocks · 2], to be prefetched. Exact where segments rise along T, with
  // 0 as padding at the end. And for each block of keys, the same of queries.
  Tensor KeyBounds() const;
  Tensor QueryBounds() const;
  // The kernel's array for `heads` heads.
  Shape ArrayOf(int64_t heads) const;
  // Of the whole call: matrix products a score, heads of all arrays whose blocks stay while others
  // pass, arrays whose blocks pass, and the rows of a block that stays.
  pallas::CostEstimate Cost(int64_t products, int64_t staying_heads, int64_t passing_arrays,
                            int64_t block) const;
};

// Checks the shapes and settles the blocks. Throws Error naming the operand.
Problem ProblemOf(FlashKernel kernel, const KernelTarget& target, const AttentionMask& mask,
                  const FlashBlocks& blocks, const Tensor& q, const Tensor& k, const Tensor& v);

// Blocks of `rows` rows of one head, of statistics [B, H, 1, T] and of segments [B, 1, T], given
// the places of head and block in the grid.
using Place = std::function<pallas::Val(const pallas::GridIndex&)>;
pallas::BlockSpec HeadBlock(const Problem& p, int64_t rows, const Place& head, const Place& block);
pallas::BlockSpec StatisticsBlock(const Problem& p, const Place& head, const Place& block);
pallas::BlockSpec SegmentBlock(int64_t rows, const Place& block);

// Where a program stands: its batch row and the prefetched bounds, none without segments.
struct BatchRow {
  pallas::Val index;
  std::vector<pallas::Ref> bounds;
};
// The nearest block of keys to j of which queries of block `q` see some.
pallas::Val VisibleKeyBlock(const Problem& p, const BatchRow& row, const pallas::Val& q,
                            const pallas::Val& j);
// The nearest block of queries to i that sees some keys of block `k`.
pallas::Val VisibleQueryBlock(const Problem& p, const BatchRow& row, const pallas::Val& k,
                              const pallas::Val& i);

// A block for Dot: in f32 if the chip multiplies nothing narrower.
pallas::Val LoadBlock(const Problem& p, const pallas::Ref& ref);

// Segments of one block of queries and one of keys, [1, n] each; both undefined without segments.
struct Segments {
  pallas::Val queries, keys;
};

// Which keys of block `k` the queries of block `q` see: bool [block_q, block_k], or [block_k,
// block_q] if `keys_first`; undefined: all.
pallas::Val Visible(const Problem& p, const pallas::Val& q, const pallas::Val& k,
                    const Segments& segments, bool keys_first);

// [n, 1] to [1, n], through full tiles, which every chip can turn.
pallas::Val RowOf(const pallas::Val& column);

// The forward kernel, with what its gradient needs.
struct FlashOutput {
  Tensor out;      // [B, T, H, D]
  Tensor log_sum;  // log of each query's sum of exponentials, f32 [B, H, 1, T]: a column would take
                   // 128 lanes
};
FlashOutput Forward(const Tensor& q, const Tensor& k, const Tensor& v, const KernelTarget& target,
                    const AttentionMask& mask, const FlashBlocks& blocks);

// Gradients of q, k and v.
std::vector<Tensor> Backward(const Tensor& q, const Tensor& k, const Tensor& v,
                             const FlashOutput& forward, const Tensor& grad,
                             const KernelTarget& target, const AttentionMask& mask,
                             const FlashBlocks& blocks);

}  // namespace sophia::kernels::flash
