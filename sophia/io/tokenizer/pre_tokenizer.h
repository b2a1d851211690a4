#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/base/json.h"
#include "sophia/io/tokenizer/pieces.h"

namespace sophia::io::tok {

// Cuts open pieces into the words that BPE works on. Empty means none.
using PreTokenizer = std::function<void(PieceList&)>;

// From the object under "pre_tokenizer" of tokenizer.json: ByteLevel, Split, Digits, Whitespace,
// WhitespaceSplit, Metaspace, Punctuation, Sequence; null gives an empty function. Throws Error on
// any other type.
PreTokenizer ParsePreTokenizer(const Json& object, std::string_view where);

// Spells the text in GPT-2's byte alphabet, after splitting it with GPT-2's pattern if `use_regex`.
PreTokenizer ByteLevelPreTokenizer(bool add_prefix_space, bool use_regex);

// Isolates what the pattern matches.
PreTokenizer SplitPreTokenizer(const std::string& pattern, std::string_view where);

PreTokenizer PreTokenizerSequence(std::vector<PreTokenizer> parts);

}  // namespace sophia::io::tok
