// What a kernel holds in a core's memories, against what the chip has.
#include <fmt/ranges.h>

#include <algorithm>

#include "sophia/base/rounding.h"
#include "sophia/pallas/trace.h"

namespace sophia::pallas {
namespace {

// Elements of a dimension that fill a tile.
int64_t TileSize(const Shape& shape, size_t dim) {
  const int64_t rows = kSublanes * std::max(1, 32 / Info(shape.dtype).bits);
  const size_t back = shape.dims.size() - dim;
  if (back == 1) return shape.dims.size() == 1 ? kLanes * rows : kLanes;
  return back == 2 ? rows : 1;
}

// Bytes in VMEM: the last two dimensions fill whole tiles.
int64_t TiledBytes(const Shape& shape) {
  int64_t elements = 1;
  for (size_t dim = 0; dim < shape.dims.size(); ++dim) {
    elements *= RoundUp(shape.dims[dim], TileSize(shape, dim));
  }
  return ByteSize(shape.dtype, elements);
}

int64_t Buffers(const Kernel& kernel, size_t ref) {
  const Window* window = kernel.windows[ref].get();
  if (window == nullptr) return 1;
  const auto prefetch = static_cast<size_t>(kernel.spec.num_scalar_prefetch);
  const bool is_output = ref >= kernel.first_output();
  const BlockSpec& spec = is_output ? kernel.spec.out_specs[ref - kernel.first_output()]
                                    : kernel.spec.in_specs[ref - prefetch];
  return spec.single_buffer || (window->is_constant && !is_output) ? 1 : 2;
}

// The largest ref, shortened along its longest dimension until everything fits; without that, how
// many times smaller all of them would have to be.
std::string SmallerBlock(const Kernel& kernel, int64_t vmem, int64_t limit) {
  size_t largest = 0;
  int64_t most = 0;
  for (size_t i = 0; i < kernel.refs.size(); ++i) {
    if (kernel.refs[i].space != MemorySpace::kVmem) continue;
    const int64_t bytes = TiledBytes(kernel.refs[i].shape) * Buffers(kernel, i);
    if (bytes <= most) continue;
    most = bytes;
    largest = i;
  }
  const RefDef& ref = kernel.refs[largest];
  Shape shape = ref.shape;
  const auto longest = std::ranges::max_element(shape.dims);
  const int64_t tile =
      TileSize(shape, static_cast<size_t>(std::distance(shape.dims.begin(), longest)));
  *longest = tile;
  const int64_t tiles = (limit - (vmem - most)) / (TiledBytes(shape) * Buffers(kernel, largest));
  if (tiles < 1) {
    return fmt::format("take blocks about {} times smaller in all", CeilDiv(vmem, limit));
  }
  *longest = tiles * tile;
  return fmt::format("take smaller blocks, such as {} for {}", ToString(shape), ref.name);
}

void CheckSmem(const Kernel& kernel, const ChipInfo& info) {
  int64_t bytes = 0;
  std::vector<std::string> parts;
  for (const RefDef& def : kernel.refs) {
    if (def.space != MemorySpace::kSmem) continue;
    bytes += def.shape.bytes();
    parts.push_back(fmt::format("{} {}", def.name, ToString(def.shape)));
  }
  if (bytes <= info.smem) return;
  FailKernel(
      kernel.loc,
      fmt::format("expected smem refs within {} bytes on TPU {}, which hold {} numbers of 32 "
                  "bits, got {} ({})",
                  info.smem, info.name, info.smem / 4, bytes, fmt::join(parts, ", ")));
}

}  // namespace

int64_t VmemBytes(const Kernel& kernel) {
  int64_t bytes = 0;
  for (size_t i = 0; i < kernel.refs.size(); ++i) {
    const RefDef& def = kernel.refs[i];
    if (def.space == MemorySpace::kVmem) bytes += TiledBytes(def.shape) * Buffers(kernel, i);
  }
  return bytes;
}

void CheckMemory(const Kernel& kernel, Chip chip) {
  const ChipInfo& info = Info(chip);
  const int64_t asked = kernel.spec.vmem_limit_bytes;
  const int64_t limit = asked > 0 ? std::min(asked, info.vmem_max) : info.vmem_default;
  const int64_t vmem = VmemBytes(kernel);
  if (vmem > limit) {
    std::vector<std::string> parts;
    for (size_t i = 0; i < kernel.refs.size(); ++i) {
      const RefDef& def = kernel.refs[i];
      if (def.space != MemorySpace::kVmem) continue;
      parts.push_back(fmt::format("{} {}{}", def.name, ToString(def.shape),
                                  Buffers(kernel, i) == 2 ? " twice" : ""));
    }
    const std::string smaller = SmallerBlock(kernel, vmem, limit);
    FailKernel(
        kernel.loc,
        fmt::format("expected blocks and scratch within {} bytes of VMEM on TPU {}, got {} "
                    "({}); {}",
                    limit, info.name, vmem, fmt::join(parts, ", "),
                    vmem <= info.vmem_max
                        ? fmt::format("set vmem_limit_bytes up to {} or {}", info.vmem_max, smaller)
                        : smaller));
  }
  CheckSmem(kernel, info);
  for (size_t i = 0; i < kernel.refs.size(); ++i) {
    if (Info(kernel.refs[i].shape.dtype).bits == 4 && !info.int4) {
      FailKernel(kernel.loc,
                 fmt::format("{}: on TPU {}: expected elements of at least 8 bits, got {}",
                             kernel.refs[i].name, info.name, Name(kernel.refs[i].shape.dtype)));
    }
  }
}

}  // namespace sophia::pallas
