#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/base/json.h"
#include "sophia/io/tokenizer/aligned_text.h"

namespace sophia::io::tok {

// Rewrites a text. Empty means none.
using Normalizer = std::function<void(AlignedText& text)>;

// From the object under "normalizer" of tokenizer.json: NFC, NFD, NFKC, NFKD, Lowercase, Replace,
// Prepend, Strip, Sequence; null gives an empty function. Throws Error on any other type.
Normalizer ParseNormalizer(const Json& object, std::string_view where);

// Adds `prefix` to every text that is not empty.
Normalizer PrependNormalizer(std::string prefix);
Normalizer ReplaceNormalizer(const std::string& from, std::string to);
Normalizer NfcNormalizer();
Normalizer NormalizerSequence(std::vector<Normalizer> normalizers);

}  // namespace sophia::io::tok
