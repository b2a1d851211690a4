#include "sophia/pallas/ops/part.h"

namespace sophia::pallas {
namespace {}  // namespace

Part PartOf(const Instr& instr, std::string_view attribute, std::string_view sizes, size_t first) {
  Part part{.ref = instr.attrs.Get<int64_t>(attribute), .sizes = instr.attrs.Get<Dims>(sizes)};
  const auto begin = instr.inputs.begin() + static_cast<int64_t>(first);
  part.starts.assign(begin, begin + static_cast<int64_t>(part.sizes.size()));
  return part;
}

const RefDef& DefOf(const Part& part) {
  return Tracer::Current().kernel().refs[static_cast<size_t>(part.ref)];
}

int64_t Alignment(const Part& part, size_t axis, DType dtype, bool is_dma) {
  const size_t rank = part.sizes.size();
  if (axis + 1 == rank) return kLanes;
  if (axis + 2 != rank) return 1;
  const int bits = Info(dtype).bits;
  if (bits == 32 && part.sizes[axis] == 1) return 1;
  return bits >= 16 || is_dma ? 8 : 256 / bits;
}

void CheckAlignment(const Instr& instr, const Part& part, bool is_dma) {
  const RefDef& def = DefOf(part);
  if (def.space == MemorySpace::kSmem || def.space == MemorySpace::kSemaphore) return;
  for (size_t i = 0; i < part.sizes.size(); ++i) {
    const int64_t alignment = Alignment(part, i, def.shape.dtype, is_dma);
    const bool is_lane = i + 1 == part.sizes.size();
    int64_t start = 0;
    if (IsConstant(part.starts[i], &start)) {
      if (is_dma && is_lane && start % kLanes != 0) {
        FailIn(instr,
               "{}: expected a DMA to start at a multiple of {} along the last dimension, got {}; "
               "nearest {}",
               def.name, kLanes, start, start / kLanes * kLanes);
      }
    } else if (part.starts[i].instr()->multiple % alignment != 0) {
      FailIn(
          instr,
          "{}: expected a start along dimension {} that is known to be a multiple of {}, got one "
          "that is known to be one of {}; multiply an index by {} or use AssumeMultiple",
          def.name, i, alignment, part.starts[i].instr()->multiple, alignment);
    }
    if (is_dma && is_lane && part.sizes[i] % kLanes != 0 && part.sizes[i] != def.shape.dims[i]) {
      FailIn(instr, "{}: expected a DMA of whole rows or a multiple of {} lanes, got {}", def.name,
             kLanes, part.sizes[i]);
    }
  }
}

std::vector<Val> StartsOf(const Ref& ref) {
  std::vector<Val> starts;
  for (const Arg& start : ref.starts()) starts.push_back(AsIndex(start, "a position"));
  return starts;
}

}  // namespace sophia::pallas
