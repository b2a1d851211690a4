#pragma once

#include "sophia/pallas/ops/op_util.h"

// The parts of refs that memory ops touch.
namespace sophia::pallas {

// The part that an instruction names `attribute`, its starts from input `first` on.
Part PartOf(const Instr& instr, std::string_view attribute, std::string_view sizes, size_t first);

// The definition of the part's ref in the kernel being traced.
const RefDef& DefOf(const Part& part);

// What a dynamic start along a dimension must be a multiple of, for libtpu to take it.
int64_t Alignment(const Part& part, size_t axis, DType dtype, bool is_dma);

// Throws Error where a start, or the size that a DMA moves, is not known to be aligned.
void CheckAlignment(const Instr& instr, const Part& part, bool is_dma);

// Where the ref starts along each dimension of its array.
std::vector<Val> StartsOf(const Ref& ref);

}  // namespace sophia::pallas
