#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace sophia::generate {

// Throws Error naming `where` and the place of the first id outside 0 … vocab - 1.
void CheckIds(std::span<const int32_t> ids, int64_t vocab, std::string_view where);

}  // namespace sophia::generate
