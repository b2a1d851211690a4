#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

// The same as data: words are what the patterns match, applied one after another.
struct GgufPreRules {
  std::vector<std::string> patterns;
  bool nfc = false;  // normalise to NFC first
  bool ignore_merges = false;
  bool adds_bos = false;
};

// The first name with these rules, if there is one.
std::optional<std::string_view> GgufPreName(const std::vector<std::string>& patterns,
                                            bool ignore_merges, bool nfc);

// Throw Error with the names that are known when `name` is not one of them.
GgufPreRules FindGgufPreRules(std::string_view name, std::string_view where);
GgufPre FindGgufPre(std::string_view name, std::string_view where);

}  // namespace sophia::io::tok
