#pragma once

#include <string>

#include "sophia/models/model_files.h"
#include "sophia/train/dataset.h"

namespace sophia::train {

// SHA-256 over a model's configuration and its tensors in the order of their names: name, shape,
// storage and first 4 KiB of each. Tells models apart without reading all of a large one.
std::string Fingerprint(const models::ModelFiles& files);

// SHA-256 over the encoded examples, ids and labels, so over tokenizer, template and max_length
// too.
std::string Fingerprint(const Dataset& dataset);

// SHA-256 over the bytes of the files and the first encoded rows, so over tokenizer and template
// too.
std::string Fingerprint(const StreamedRows& rows);

}  // namespace sophia::train
