#pragma once

#include <functional>
#include <optional>

#include "sophia/base/error.h"
#include "sophia/graph/graph.h"

namespace sophia::plan {

// For a graph on which the compiler died: gives each of its TPU kernels alone to `compile`, which
// throws ChildDied where the compiler dies again. The first such kernel as an Error of the line
// that calls it: "[file.cc:12] kernel 'name': expected …, got …"; nullopt where none is to blame.
std::optional<Error> KernelCrashIn(const Graph& graph,
                                   const std::function<void(const Graph&)>& compile);

}  // namespace sophia::plan
