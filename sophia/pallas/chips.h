#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace sophia::pallas {

enum class Chip : uint8_t { kV2, kV3, kV4, kV5e, kV5p, kV6e, kTpu7x };

// What a TPU generation has. VMEM and SMEM are what libtpu 0.0.52 lets one kernel take; the missing
// features are what it refuses to compile. Peaks are per chip, decimal units.
struct ChipInfo {
  Chip chip;
  std::string_view name;      // "v5e"
  std::string_view topology;  // libtpu's name of the smallest one
  std::string_view kind;      // what PJRT calls the device: "TPU v5 lite"
  int64_t vmem_default;       // bytes without vmem_limit_bytes
  int64_t vmem_max;
  int64_t smem;
  int64_t mxu;            // rows and columns of a matrix unit
  int64_t hbm_bytes;      // per chip
  double clock;           // Hz, of the cycles that XLA estimates
  double bf16_flops;      // per second
  double int8_ops;        // per second; 0 without int8 products or where not published
  double hbm_bandwidth;   // bytes per second
  int devices;            // that libtpu shows of one chip: its cores, where each is one
  int topology_axes;      // sizes in the name of a topology: "1x1" or "1x1x1"
  int64_t usable_hbm;     // bytes that libtpu 0.0.52 lets the programs of one device take
  bool bf16_dot;          // bf16 operands of Dot
  bool int8_dot;          // s8 and s4 operands of Dot, f8 too
  bool int4;              // 4-bit operands of a kernel
  bool narrow_compare;    // comparisons of 8- and 16-bit integers
  bool lane_gather;       // TakeAlongAxis over lanes
  bool sublane_gather;    // TakeAlongAxis over rows
  bool stochastic_round;  // StochasticRound
  bool lanes_to_rows;     // reshapes and reductions that turn a column into a row
};

// All generations, oldest first.
std::span<const ChipInfo> AllChips();
const ChipInfo& Info(Chip chip);
// By name ("v5e") or PJRT's kind of the device, or nullopt.
std::optional<Chip> ChipFromName(std::string_view name);
std::optional<Chip> ChipFromKind(std::string_view kind);

}  // namespace sophia::pallas
