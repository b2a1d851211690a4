#pragma once

#include <cstdio>

#include "sophia/train/run.h"

namespace sophia::train {

// The proof of convergence: ten steps on one batch, in which the loss falls through the adapter's A
// and B while no base weight moves.
struct ProofResult {
  std::vector<StepMetrics> steps;  // group_norms: of A and of B
  size_t base_weights = 0;         // tensors whose SHA-256 was compared
  std::vector<std::string> moved;  // base weights that changed
  bool loss_fell = false;
  bool gradients_flow = false;  // through A and B in the last step

  bool holds() const { return moved.empty() && loss_fell && gradients_flow; }
};

// SHA-256 of each frozen parameter, read back from the device; empty for trained ones.
std::vector<std::string> BaseHashes(const std::vector<nn::ParamSpec>& specs,
                                    const std::vector<pjrt::Buffer>& parameters);

// One digest over all of them.
std::string Digest(const std::vector<std::string>& hashes);

// The base weights whose hashes differ, by name.
std::vector<std::string> CompareBase(const std::vector<nn::ParamSpec>& specs,
                                     const std::vector<std::string>& before,
                                     const std::vector<std::string>& after);

// "moved: a, b, c and 2 more": the first few of `moved`, which must not be empty.
std::string MovedNames(const std::vector<std::string>& moved);

// Prints what the data holds, the table (step, loss, gradient norms, status), the verdict and the
// weights that moved on `console`. The base weights are hashed as the device holds them, before and
// after.
ProofResult Prove(const TrainOptions& options, const TrainEnvironment& environment,
                  std::FILE* console);

}  // namespace sophia::train
