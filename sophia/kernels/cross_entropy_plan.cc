#include <algorithm>
#include <array>

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"
#include "sophia/kernels/cross_entropy_blocks.h"

namespace sophia::kernels::cross_entropy {
namespace {

using pallas::Chip;

constexpr int64_t kMiB = 1 << 20;

struct Plan {
  Chip chip;
  CrossEntropyBlocks forward, backward;
};

// A program multiplies a block of the head, read once from HBM, with t tokens: t FLOPs a byte of
// bf16 head forward, 2·t backward, where the gradient's product is added. The t that makes this
// more than the chip's FLOPs by its bandwidth is enough, and twice that leaves room for what
// reaches neither peak: v2 64, v3 170, v4 224, v5e 240, v5p 187, v6e 561, tpu7x 313.
// The blocks of the head are as large as VMEM allows: the gradient [t, D] in f32 is read and
// written for each. With 16 MiB and D 4096, that is 256.
constexpr std::array<Plan, 7> kPlans = {{
    {Chip::kV2, {.tokens = 256, .vocab = 256}, {.tokens = 256, .vocab = 256}},
    {Chip::kV3, {.tokens = 512, .vocab = 256}, {.tokens = 256, .vocab = 256}},
    {Chip::kV4, {.tokens = 512, .vocab = 256}, {.tokens = 256, .vocab = 256}},
    {Chip::kV5e, {.tokens = 1024, .vocab = 512}, {.tokens = 512, .vocab = 512}},
    {Chip::kV5p, {.tokens = 1024, .vocab = 512}, {.tokens = 512, .vocab = 512}},
    {Chip::kV6e, {.tokens = 1024, .vocab = 512}, {.tokens = 1024, .vocab = 512}},
    {Chip::kTpu7x, {.tokens = 1024, .vocab = 512}, {.tokens = 512, .vocab = 512}},
}};

constexpr bool RowsFollowTheEnum() {
  for (size_t i = 0; i < kPlans.size(); ++i) {
    if (static_cast<size_t>(kPlans[i].chip) != i) return false;
  }
  return true;
}
static_assert(RowsFollowTheEnum());

// The formula of linear_cross_entropy.h, spills included.
int64_t VmemNeeded(Pass pass, const Problem& p, const CrossEntropyBlocks& blocks) {
  const int64_t t = blocks.tokens;
  const int64_t v = blocks.vocab;
  const int64_t size = RoundUp(p.size, kLanes);
  const int64_t head = 2 * ByteSize(p.head, v * size) + (p.has_scale ? 64 * v : 0);
  const int64_t hidden = ByteSize(p.hidden, t * size);
  const int64_t spills = 12 * t * v;
  if (pass == Pass::kForward) return hidden + head + 4 * t * v + 2240 * t + spills;
  return 2 * hidden + head + 4 * t * size + ByteSize(p.operands, t * v) + 4 * t * v + 1728 * t +
         spills;
}

}  // namespace

int64_t VmemLimit(Pass pass, const Problem& problem, const CrossEntropyBlocks& blocks,
                  std::optional<Chip> chip) {
  if (!chip) return 0;
  const pallas::ChipInfo& info = pallas::Info(*chip);
  const int64_t needed = VmemNeeded(pass, problem, blocks);
  return needed <= info.vmem_default ? 0 : std::min(info.vmem_max, needed + kMiB);
}

CrossEntropyBlocks BlocksFor(Pass pass, const Problem& problem, std::optional<Chip> chip,
                             const CrossEntropyBlocks& asked) {
  const auto check = [](int64_t size, std::string_view what) {
    if (size < 0 || size % kLanes != 0) {
      Fail("linear_cross_entropy", "expected blocks of {} in multiples of 128, got {}", what, size);
    }
  };
  check(asked.tokens, "tokens");
  check(asked.vocab, "the vocabulary");
  const Plan& plan = kPlans[static_cast<size_t>(chip.value_or(Chip::kV5e))];
  CrossEntropyBlocks blocks = pass == Pass::kForward ? plan.forward : plan.backward;
  const int64_t budget = pallas::Info(plan.chip).vmem_max;
  while (VmemNeeded(pass, problem, blocks) > budget && blocks.vocab > kLanes) blocks.vocab /= 2;
  while (VmemNeeded(pass, problem, blocks) > budget && blocks.tokens > kLanes) blocks.tokens /= 2;
  if (asked.tokens > 0) blocks.tokens = asked.tokens;
  if (asked.vocab > 0) blocks.vocab = asked.vocab;
  return {.tokens = std::min(blocks.tokens, problem.padded),
          .vocab = std::min(blocks.vocab, problem.vocab)};
}

}  // namespace sophia::kernels::cross_entropy
