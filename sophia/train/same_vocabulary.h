#pragma once

#include <cstdint>

#include "sophia/models/model_files.h"

namespace sophia::train {

struct Vocabulary {
  const models::ModelFiles& files;
  int64_t ids;  // rows of the embedding
};

// For rows that are encoded once and read by both: throws Error naming the other model unless it
// has as many ids and, where both have a tokenizer, each id is the same token.
void CheckSameVocabulary(const Vocabulary& model, const Vocabulary& other);

}  // namespace sophia::train
