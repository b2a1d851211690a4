#pragma once

#include "sophia/merge/merged_model.h"

namespace sophia::merge {

// The config.json of the merged model in `dtype`. Throws Error for rotary frequencies of a GGUF
// file that are not those of a published Llama 3 scaling.
Json FolderConfig(const MergedModel& model, DType dtype);

}  // namespace sophia::merge
