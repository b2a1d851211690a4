#pragma once

#include "xla/pjrt/c/pjrt_c_api.h"

#include "sophia/base/dtype.h"

namespace sophia::pjrt {

PJRT_Buffer_Type ToBufferType(DType dtype);

// Throws Error for a type that the engine has no name for (complex, token, …).
DType FromBufferType(PJRT_Buffer_Type type);

}  // namespace sophia::pjrt
