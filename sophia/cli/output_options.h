#pragma once

#include "sophia/cli/options.h"
#include "sophia/train/options.h"

namespace sophia::cli {

// Where a run writes, when it saves and what it continues. Throws UsageError for missing and
// contradicting options.
train::OutputOptions OutputOptionsFrom(const Values& values);

}  // namespace sophia::cli
