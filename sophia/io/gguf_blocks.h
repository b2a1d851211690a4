#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sophia/io/tensor_source.h"

namespace sophia::io {

// Storage of a GGUF tensor type id that this library reads: F32, F16, BF16, F64, I8 … I64, Q4_0,
// Q4_1, Q5_0, Q5_1, Q8_0, Q2_K … Q6_K. The layouts are those of ggml's block structures; values
// are computed in f32 in the order of ggml's reference dequantisation, so they match it bit for
// bit.
std::optional<Storage> GgufStorage(uint32_t type);

// The type id of such a storage name.
std::optional<uint32_t> GgufTypeOf(std::string_view storage_name);

// "IQ4_XS (type 23)", or "type 99" for an id that has no published name.
std::string DescribeGgufType(uint32_t type);

// Names of all types that GgufStorage knows, for messages: "F32, F16, …".
std::string SupportedGgufTypes();

}  // namespace sophia::io
