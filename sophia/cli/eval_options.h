#pragma once

#include "sophia/cli/options.h"
#include "sophia/train/options.h"

namespace sophia::cli {

// How `train` evaluates. Throws UsageError for options that contradict each other.
train::EvalOptions EvalOptionsFrom(const Values& values);

}  // namespace sophia::cli
