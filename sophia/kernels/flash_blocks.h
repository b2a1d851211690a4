#pragma once

#include <optional>
#include <vector>

#include "sophia/kernels/flash_attention.h"

// What the forward and the backward kernels of flash attention share.
namespace sophia::kernels::flash {

inline constexpr double kMasked = -1e30;
inline constexpr int64_t kLanes = 128;

struct Sizes {
  int64_t batch, heads, kv_heads, length, head_dim;
  int64_t padded;  // length, up to a multiple of both blocks
  int64_t group() const { return heads / kv_heads; }
};

// Checks the shapes and fits the blocks to the length. Throws Error naming the operand.
Sizes SizesFor(const Tensor& q, const Tensor& k, const Tensor& v, FlashOptions& options);

// The nearest block of keys to j of which queries of block `q` see some.
pallas::Val VisibleKeyBlock(const FlashOptions& options, const pallas::Val& q,
                            const pallas::Val& j);
// The nearest block of queries to i that sees some keys of block `k`.
pallas::Val VisibleQueryBlock(const FlashOptions& options, const Sizes& sizes, const pallas::Val& k,
                              const pallas::Val& i);

// Segments of one block of queries and one of keys, [1, n] each; both undefined without segments.
struct Segments {
  pallas::Val queries, keys;
};

// Which keys of block `k` the queries of block `q` see: bool [block_q, block_k], or [block_k,
// block_q] if `keys_first`; undefined: all.
pallas::Val Visible(const FlashOptions& options, const Sizes& sizes, const pallas::Val& q,
                    const pallas::Val& k, const Segments& segments, bool keys_first);

// [n, 1] to [1, n], through full tiles, which every chip can turn.
pallas::Val RowOf(const pallas::Val& column);

// Zeros behind x along `axis` until it has `size` there.
Tensor PadTo(const Tensor& x, int64_t axis, int64_t size);
// Segments as the kernels take them: s32 [B, 1, padded].
Tensor SegmentRows(const Tensor& segments, const Sizes& sizes);

// Gradients of q, k and v.
std::vector<Tensor> Backward(const KernelTarget& target, const FlashOptions& options,
                             const Tensor& q, const Tensor& k, const Tensor& v,
                             const Tensor& segments, const FlashOutput& forward,
                             const Tensor& grad);

}  // namespace sophia::kernels::flash
