#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "sophia/io/tokenizer.h"

namespace sophia::io::tok {

// Values of tokenizer.ggml.token_type.
inline constexpr int32_t kNormalToken = 1;
inline constexpr int32_t kUnknownToken = 2;
inline constexpr int32_t kControlToken = 3;
inline constexpr int32_t kUserDefinedToken = 4;
inline constexpr int32_t kUnusedToken = 5;
inline constexpr int32_t kByteToken = 6;

int32_t TokenType(const GgufTokenizerData& data, size_t id);

struct ScoredMerge {
  std::string_view left, right;  // of data's tokens
  uint32_t rank;                 // merges of equal scores share one
};

// SentencePiece's BPE as merges: any two neighbours whose text is a token, best score first. Throws
// Error naming `where` for missing scores and NaN.
std::vector<ScoredMerge> ScoredMerges(const GgufTokenizerData& data, std::string_view where);

}  // namespace sophia::io::tok
