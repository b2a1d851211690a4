#pragma once

#include "sophia/pallas/pallas_call.h"

namespace sophia::kernels {

// A gradient for pallas::CallOptions::vjp: the reference's, which is run again in the backward
// pass.
pallas::KernelVjp ReferenceVjp(TensorFunction reference);

}  // namespace sophia::kernels
