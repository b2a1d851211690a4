#include "sophia/kernels/flash_plan.h"

#include <algorithm>
#include <array>

#include "sophia/base/rounding.h"

namespace sophia::kernels::flash {
namespace {

using pallas::Chip;

// A step costs a fixed time beside its products, and keys are fetched once a block of queries: with
// n queries a step, forward makes n FLOPs a byte in bf16. MaxText trains with 512 to 2048 queries
// and keys on v5e to tpu7x; the default 128 of jax.experimental.pallas reaches 4 % of a v5e
// (https://github.com/jax-ml/jax/issues/24633). On v2 to v4 the scores of larger blocks do not fit
// into 16 MiB.
struct Row {
  Chip chip;
  FlashBlocks forward, query_gradient, key_gradients;
};
constexpr std::array<Row, 7> kRows = {{
    {Chip::kV2, {512, 512}, {512, 512}, {512, 512}},
    {Chip::kV3, {512, 512}, {512, 512}, {512, 512}},
    {Chip::kV4, {1024, 512}, {1024, 512}, {512, 512}},
    {Chip::kV5e, {1024, 1024}, {1024, 1024}, {1024, 1024}},
    {Chip::kV5p, {1024, 1024}, {1024, 1024}, {1024, 1024}},
    {Chip::kV6e, {2048, 1024}, {2048, 1024}, {2048, 1024}},
    {Chip::kTpu7x, {2048, 1024}, {2048, 1024}, {2048, 1024}},
}};

constexpr bool RowsFollowTheEnum() {
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<size_t>(kRows[i].chip) != i) return false;
  }
  return true;
}
static_assert(RowsFollowTheEnum());

constexpr int64_t kLanes = 128;

// Padding costs copies of all operands and time; blocks of 512 are still bound by products. A block
// larger than half the window would mostly compute what the window hides.
int64_t Fit(int64_t block, int64_t length, int64_t window) {
  constexpr int64_t kLargeEnough = 512;
  const int64_t tiles = RoundUp(length, kLanes);
  while (block > kLargeEnough && tiles % block != 0 && tiles % kLargeEnough == 0) block /= 2;
  while (block > kLanes && RoundUp(tiles, block) - tiles > tiles / 8) block /= 2;
  while (window > 0 && block > 2 * kLanes && 2 * block > window) block /= 2;
  return block;
}

}  // namespace

FlashBlocks PlannedBlocks(FlashKernel kernel, std::optional<Chip> chip, int64_t length,
                          int64_t window) {
  const Row& row = kRows.at(static_cast<size_t>(chip.value_or(Chip::kV5e)));
  const FlashBlocks& blocks = kernel == FlashKernel::kForward         ? row.forward
                              : kernel == FlashKernel::kQueryGradient ? row.query_gradient
                                                                      : row.key_gradients;
  return {Fit(blocks.q, length, window), Fit(blocks.k, length, window)};
}

int64_t VmemLimit(std::optional<Chip> chip) {
  if (!chip || Info(*chip).vmem_max == Info(*chip).vmem_default) return 0;
  return Info(*chip).vmem_max / 4 * 3;
}

}  // namespace sophia::kernels::flash
