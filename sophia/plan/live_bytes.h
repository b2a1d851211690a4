#pragma once

#include <cstdint>

#include "sophia/graph/graph.h"

namespace sophia::plan {

// Device memory of a program, in bytes, by a formula for where its compiler is missing: its inputs,
// and the most that is live at once when the nodes run in the order of tracing. Elementwise results
// with one reader and views take nothing, as if fused; an operand that dies makes room for the
// result of an elementwise op, an update of a slice or a loop; of a loop's body the live bytes
// count once. What a compiler adds (padding, copies, other orders) is not in it.
int64_t LiveBytes(const Graph& graph);

}  // namespace sophia::plan
