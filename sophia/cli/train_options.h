#pragma once

#include "sophia/cli/options.h"
#include "sophia/train/options.h"

namespace sophia::cli {

// What the options say of a run, but for its number of steps. Throws UsageError for options that
// contradict each other or miss.
train::TrainOptions TrainOptionsFrom(const Values& values);

}  // namespace sophia::cli
