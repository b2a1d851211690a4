#pragma once

#include <ostream>
#include <vector>

#include "sophia/pallas/pallas_call.h"
#include "tests/kernels/kernel_case.h"
#include "tests/pallas/host_tensor.h"

namespace sophia::kernels {

// The name, for GoogleTest.
void PrintTo(const KernelCase& test, std::ostream* stream);

// A fixed draw of the case's inputs.
std::vector<pallas::HostTensor> DrawInputs(const KernelCase& test);

// sin(flat index), by which outputs are weighted in the loss whose gradients are compared: f32.
Tensor SineWeights(const Dims& dims);

// What a case gives in a graph.
struct CaseResults {
  std::vector<Tensor> outputs;
  std::vector<Tensor> grads;  // of the inputs to differentiate, in order
};

// Inputs of the case in the graph being traced, and its results from them.
std::vector<Tensor> AddInputs(Graph& graph, const KernelCase& test);
CaseResults TraceCase(const KernelCase& test, const std::vector<Tensor>& inputs,
                      const KernelTarget& target);

}  // namespace sophia::kernels
