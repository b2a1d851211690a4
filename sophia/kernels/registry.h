#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/kernels/kernel_target.h"

namespace sophia::kernels {

// What a kernel is on a chip, by its plan for a call at a stated shape of Llama-3.1-8B.
struct KernelFacts {
  std::string name;
  std::string_view shape;
  pallas::Chip chip;
  Dims grid;
  std::vector<Dims> blocks;  // of operands and results in VMEM
  int64_t vmem_bytes;        // blocks and scratch; the compiler adds its temporaries
  int64_t vmem_limit;
  double flops;      // of the whole call
  double hbm_bytes;  // read and written

  // FLOPs a byte of HBM traffic.
  double intensity() const { return flops / hbm_bytes; }
  // Seconds that one device of the chip needs at least at its peaks, and whether products are what
  // takes them.
  double roofline() const;
  bool compute_bound() const;
};

// The kernels of all functions of this layer.
std::vector<KernelFacts> DescribeKernels(pallas::Chip chip);

// Mosaic text of the kernel of that name on the chip, or nullopt.
std::optional<std::string> KernelText(std::string_view name, pallas::Chip chip);

}  // namespace sophia::kernels
