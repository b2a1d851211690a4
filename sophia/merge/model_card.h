#pragma once

#include <string>

#include "sophia/merge/merged_model.h"

namespace sophia::merge {

// README.md of a merged model, with the metadata that model hubs read.
std::string ModelCard(const MergedModel& model);

}  // namespace sophia::merge
