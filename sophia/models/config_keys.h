#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sophia/base/json.h"

namespace sophia::models {

// Keys of a config.json that say nothing about the maths of a decoder: ids, types, generation
// defaults and records of the tools that wrote the file.
const std::vector<std::string>& HarmlessConfigKeys();

// Throws Error naming the first key that is neither harmless nor one of `known`. Keys that start
// with an underscore, and null values, are harmless.
void CheckConfigKeys(const Json& config, const std::vector<std::string>& known,
                     std::string_view where);

}  // namespace sophia::models
