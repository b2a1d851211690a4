#pragma once

#include "sophia/pjrt/executable.h"

namespace sophia::plan {

// Clock cycles of one run by the estimates that XLA's TPU compiler leaves at each operation of an
// optimised program ("estimated_cycles" in https://github.com/openxla/xla's HloInstructionProto
// .backend_config). Loops count all iterations, where their condition compares with a constant; of
// branches the shortest counts. TPU kernels and copies beside the computation have no estimate and
// count nothing. 0 for programs of other compilers. Throws Error for a malformed program.
double EstimatedCycles(const pjrt::OptimizedProgram& program);

}  // namespace sophia::plan
