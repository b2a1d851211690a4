#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/base/json.h"

namespace sophia::io::tok {

// Turns token texts into the parts of the decoded text. Empty means: join the tokens with spaces.
using Decoder = std::function<std::vector<std::string>(std::vector<std::string>)>;

// From the object under "decoder" of tokenizer.json: ByteLevel, ByteFallback, Metaspace, Replace,
// Fuse, Strip, Sequence; null gives an empty function. Throws Error on any other type.
Decoder ParseDecoder(const Json& object, std::string_view where);

// Bytes of GPT-2's alphabet; malformed UTF-8 becomes U+FFFD.
Decoder ByteLevelDecoder();

// Decoder of SentencePiece vocabularies: "▁" to space, <0xNN> to bytes; `strip_first_space` removes
// the space that encoding put before the text.
Decoder SentencePieceDecoder(bool strip_first_space);

}  // namespace sophia::io::tok
