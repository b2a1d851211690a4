#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "sophia/base/json.h"
#include "sophia/io/gguf.h"
#include "sophia/io/tokenizer.h"

// A tokenizer from one kind of model file in the form of the other.
namespace sophia::io {

// tokenizer.json and tokenizer_config.json for the tokenizer of a GGUF file. Throws Error naming
// `where` for kinds that FromGguf does not read.
Json TokenizerJson(const GgufTokenizerData& data, std::string_view where);
Json TokenizerConfigJson(const GgufTokenizerData& data, int64_t max_positions);

// The tokenizer of a model folder as GGUF holds it, `vocab` tokens long: rows of the embedding that
// have no token get names of their own. Throws Error when tokenizer.json splits words in a way that
// has no name in GGUF.
GgufTokenizerData GgufTokenizerFromFolder(const std::filesystem::path& folder, int64_t vocab);

// The tokenizer.* keys.
std::vector<GgufEntry> GgufTokenizerEntries(const GgufTokenizerData& data);

}  // namespace sophia::io
