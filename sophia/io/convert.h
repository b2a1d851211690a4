#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sophia/base/dtype.h"

namespace sophia::io {

// Whether ConvertElements takes this pair: equal types; any float to f32, bf16 or f16; bool or any
// integer of 8 bits or more to s32 or s64.
bool CanConvert(DType from, DType to);

// Converts `count` dense elements; neither pointer needs to be aligned. Floats round to nearest
// even. Throws Error naming `where` when an integer does not fit `to`.
void ConvertElements(DType from, const std::byte* source, int64_t count, DType to,
                     std::byte* target, std::string_view where);

}  // namespace sophia::io
