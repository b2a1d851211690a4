#pragma once

#include <string_view>

#include "sophia/io/tokenizer/normalizer.h"
#include "sophia/io/tokenizer/pre_tokenizer.h"

namespace sophia::io::tok {

// What a value of tokenizer.ggml.pre stands for.
struct GgufPre {
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  bool ignore_merges = false;
  bool adds_bos = false;  // unless tokenizer.ggml.add_bos_token says otherwise
};

// Throws Error with the names that are known when `name` is not one of them.
GgufPre FindGgufPre(std::string_view name, std::string_view where);

}  // namespace sophia::io::tok
