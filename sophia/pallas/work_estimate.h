#pragma once

#include "sophia/graph/graph.h"
#include "sophia/pallas/chips.h"

namespace sophia::pallas {

struct WorkEstimate {
  double flops = 0;           // of matrix products and kernels
  double seconds = 0;         // their roofline time on one device
  double kernel_seconds = 0;  // of it, kernels
};

// Adds up the matrix products and TPU kernels that the program's outputs need, each as long as its
// arithmetic at the chip's bf16 peak or its operands and results at the bandwidth of HBM take,
// whichever is more (https://doi.org/10.1145/1498765.1498785). Loops count every iteration, what
// lies between counts nothing: a lower bound.
WorkEstimate EstimateWork(const Graph& graph, const ChipInfo& chip);

// The operations of matrix products and kernels alone, counted in the same way.
double CountFlops(const Graph& graph);

}  // namespace sophia::pallas
