#pragma once

#include <string_view>
#include <vector>

#include "sophia/io/gguf.h"
#include "sophia/merge/merged_model.h"

namespace sophia::merge {

// Metadata of a GGUF file of the model in `quantization`: a GGUF base's own, or made from
// config.json and tokenizer.json.
std::vector<io::GgufEntry> GgufMetadataFor(const MergedModel& model, std::string_view quantization);

// The divisors of the rotary frequencies, for rope_freqs.weight; empty when there is no scaling
// that needs them.
std::vector<float> RopeDivisors(const MergedModel& model);

}  // namespace sophia::merge
