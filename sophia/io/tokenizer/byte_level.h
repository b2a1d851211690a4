#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace sophia::io::tok {

// GPT-2's splitting pattern.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// GPT-2's printable alphabet: the character, as UTF-8, that stands for each byte.
const std::array<std::string, 256>& ByteAlphabet();

// The bytes that a text in that alphabet stands for; nullopt when a character is not in it.
std::optional<std::string> BytesOfAlphabet(std::string_view text);

}  // namespace sophia::io::tok
