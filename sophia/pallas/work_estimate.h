#pragma once

#include "sophia/graph/graph.h"
#include "sophia/pallas/chips.h"

namespace sophia::pallas {

struct WorkEstimate {
  double flops = 0;           // of matrix products and kernels
  double seconds = 0;         // their roofline time on one device
  double kernel_seconds = 0;  // of it, kernels
  double to_host = 0;         // bytes that Place() moves out of the device's memory
  double from_host = 0;       // and into it
};

// Adds up the matrix products, TPU kernels and transfers that the program's outputs need. A product
// or kernel takes as long as its arithmetic at the chip's bf16 peak or its operands and results at
// the bandwidth of HBM, whichever is more (https://doi.org/10.1145/1498765.1498785). Loops count
// every iteration, what lies between counts nothing: a lower bound.
WorkEstimate EstimateWork(const Graph& graph, const ChipInfo& chip);

// Bytes per second of a chip's link to its host, each way:
// https://jax-ml.github.io/scaling-book/tpus/ has 16e9 for v4 and 15e9 for v6e; taken for all.
inline constexpr double kHostBandwidth = 15e9;

// Seconds of a step whose program computes for so long on one device. What goes to the host goes
// during the forward pass, a quarter of a step that makes its layers' values again; what comes
// from there is waited for, unless it is prefetched: then what went out before comes back during
// the rest.
double StepSeconds(double computing, const WorkEstimate& work, const ChipInfo& chip,
                   bool prefetches);

// The operations of matrix products and kernels alone, counted in the same way.
double CountFlops(const Graph& graph);

}  // namespace sophia::pallas
