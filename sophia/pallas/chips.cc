#include "sophia/pallas/chips.h"

#include <array>

namespace sophia::pallas {
namespace {

constexpr int64_t kKiB = 1024;
constexpr int64_t kMiB = 1024 * kKiB;

// VMEM maxima of v5p, v6e and tpu7x stay 0.1 MiB below the memory: libtpu keeps that for itself.
constexpr std::array<ChipInfo, 7> kChips = {{
    {.chip = Chip::kV2,
     .name = "v2",
     .topology = "v2:2x2",
     .kind = "TPU v2",
     .vmem_default = 16 * kMiB,
     .vmem_max = 16 * kMiB,
     .smem = 16 * kKiB,
     .mxu = 128,
     .hbm_bytes = 16'000'000'000,
     .clock = 700e6,
     .bf16_flops = 46e12,
     .int8_ops = 0,
     .hbm_bandwidth = 716e9,
     .devices = 2,
     .topology_axes = 2,
     .usable_hbm = 8'034'172'928},
    {.chip = Chip::kV3,
     .name = "v3",
     .topology = "v3:2x2",
     .kind = "TPU v3",
     .vmem_default = 16 * kMiB,
     .vmem_max = 16 * kMiB,
     .smem = 16 * kKiB,
     .mxu = 128,
     .hbm_bytes = 34'400'000'000,
     .clock = 940e6,
     .bf16_flops = 140e12,
     .int8_ops = 0,
     .hbm_bandwidth = 825e9,
     .devices = 2,
     .topology_axes = 2,
     .usable_hbm = 16'624'107'520},
    {.chip = Chip::kV4,
     .name = "v4",
     .topology = "v4:2x2x1",
     .kind = "TPU v4",
     .vmem_default = 16 * kMiB,
     .vmem_max = 16 * kMiB,
     .smem = kMiB,
     .mxu = 128,
     .hbm_bytes = 34'400'000'000,
     .clock = 1.05e9,
     .bf16_flops = 275e12,
     .int8_ops = 0,
     .hbm_bandwidth = 1.23e12,
     .devices = 2,
     .topology_axes = 3,
     .usable_hbm = 32'745'977'856,
     .bf16_dot = true,
     .int4 = true,
     .narrow_compare = true,
     .lane_gather = true},
    {.chip = Chip::kV5e,
     .name = "v5e",
     .topology = "v5e:1x1",
     .kind = "TPU v5 lite",
     .vmem_default = 16 * kMiB,
     .vmem_max = 128 * kMiB,
     .smem = kMiB,
     .mxu = 128,
     .hbm_bytes = 17'200'000'000,
     .clock = 1.5e9,
     .bf16_flops = 197e12,
     .int8_ops = 394e12,
     .hbm_bandwidth = 820e9,
     .devices = 1,
     .topology_axes = 2,
     .usable_hbm = 16'909'336'064,
     .bf16_dot = true,
     .int8_dot = true,
     .int4 = true,
     .narrow_compare = true,
     .lane_gather = true,
     .sublane_gather = true,
     .stochastic_round = true,
     .lanes_to_rows = true},
    {.chip = Chip::kV5p,
     .name = "v5p",
     .topology = "v5p:2x2x1",
     .kind = "TPU v5",
     .vmem_default = 16 * kMiB,
     .vmem_max = 639 * kMiB / 10,
     .smem = kMiB,
     .mxu = 128,
     .hbm_bytes = 103'000'000'000,
     .clock = 1.75e9,
     .bf16_flops = 459e12,
     .int8_ops = 918e12,
     .hbm_bandwidth = 2.46e12,
     .devices = 1,
     .topology_axes = 3,
     .usable_hbm = 102'786'661'888,
     .bf16_dot = true,
     .int8_dot = true,
     .int4 = true,
     .narrow_compare = true,
     .lane_gather = true,
     .sublane_gather = true,
     .stochastic_round = true,
     .lanes_to_rows = true},
    {.chip = Chip::kV6e,
     .name = "v6e",
     .topology = "v6e:1x1",
     .kind = "TPU v6 lite",
     .vmem_default = 32 * kMiB,
     .vmem_max = 1279 * kMiB / 10,
     .smem = kMiB,
     .mxu = 256,
     .hbm_bytes = 34'400'000'000,
     .clock = 1.75e9,
     .bf16_flops = 920e12,
     .int8_ops = 1840e12,
     .hbm_bandwidth = 1.64e12,
     .devices = 1,
     .topology_axes = 2,
     .usable_hbm = 33'546'042'880,
     .bf16_dot = true,
     .int8_dot = true,
     .int4 = true,
     .narrow_compare = true,
     .lane_gather = true,
     .sublane_gather = true,
     .stochastic_round = true,
     .lanes_to_rows = true},
    {.chip = Chip::kTpu7x,
     .name = "tpu7x",
     .topology = "tpu7x:2x2x1",
     .kind = "TPU7x",
     .vmem_default = 32 * kMiB,
     .vmem_max = 639 * kMiB / 10,
     .smem = kMiB,
     .mxu = 256,
     .hbm_bytes = 192'000'000'000,
     .clock = 2.2e9,
     .bf16_flops = 2307e12,
     .int8_ops = 0,
     .hbm_bandwidth = 7.37e12,
     .devices = 2,
     .topology_axes = 3,
     .usable_hbm = 101'724'453'888,
     .bf16_dot = true,
     .int8_dot = true,
     .int4 = true,
     .narrow_compare = true,
     .lane_gather = true,
     .sublane_gather = true,
     .stochastic_round = true,
     .lanes_to_rows = true},
}};

constexpr bool RowsFollowTheEnum() {
  for (size_t i = 0; i < kChips.size(); ++i) {
    if (static_cast<size_t>(kChips[i].chip) != i) return false;
  }
  return true;
}
static_assert(RowsFollowTheEnum());

}  // namespace

std::span<const ChipInfo> AllChips() { return kChips; }

const ChipInfo& Info(Chip chip) { return kChips[static_cast<size_t>(chip)]; }

std::optional<Chip> ChipFromKind(std::string_view kind) {
  for (const ChipInfo& info : kChips) {
    if (info.kind == kind) return info.chip;
  }
  return std::nullopt;
}

std::optional<Chip> ChipFromName(std::string_view name) {
  for (const ChipInfo& info : kChips) {
    if (info.name == name) return info.chip;
  }
  return std::nullopt;
}

}  // namespace sophia::pallas
