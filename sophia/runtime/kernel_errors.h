#pragma once

#include <optional>

#include "sophia/graph/graph.h"
#include "sophia/pjrt/plugin.h"

namespace sophia {

// libtpu's refusal of a TPU kernel of the graph as an Error of the line of the kernel's code,
// worded as by the checks while tracing: "[file.cc:12] kernel 'name': expected …, got …". Where
// libtpu names no operation, the line is that of the kernel's call. nullopt if `error` is about
// something else.
std::optional<Error> KernelErrorIn(const pjrt::CallError& error, const Graph& graph);

}  // namespace sophia
