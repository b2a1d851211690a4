#pragma once

#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "sophia/graph/tensor.h"
#include "sophia/kernels/kernel_target.h"

// What all tests of sophia/kernels work from: a kernel function on given shapes.
namespace sophia::kernels {

struct CaseInput {
  Shape shape;
  bool differentiate = false;  // compare the gradient of this input
  // The element at flat index i. Default: standard normal for floats, uniform in [0, 4) for
  // integers.
  std::function<double(int64_t i, std::mt19937& random)> fill = {};
};

struct KernelCase {
  std::string name;  // function and what is special: "flash_ragged"
  std::vector<CaseInput> inputs;
  // Outputs for inputs of the given shapes. The gradients compared are those of
  // sum(output * sin(flat index)) over all float outputs.
  std::function<std::vector<Tensor>(std::span<const Tensor> inputs, const KernelTarget& target)>
      trace;
  double tolerance = 1e-5;                // of each result's largest element
  pallas::Chip from = pallas::Chip::kV2;  // the oldest chip that compiles it
};

// One function a kernel, defined in NAME_cases.cc.
std::vector<KernelCase> AdamWCases();
std::vector<KernelCase> AttentionCases();
std::vector<KernelCase> DropoutCases();
std::vector<KernelCase> FlashCases();
std::vector<KernelCase> GluCases();
std::vector<KernelCase> LinearCrossEntropyCases();
std::vector<KernelCase> QuantMatMulCases();
std::vector<KernelCase> RmsNormCases();
std::vector<KernelCase> RotaryCases();

std::vector<KernelCase> AllCases();

}  // namespace sophia::kernels
