#pragma once

#include <string>
#include <vector>

#include "sophia/pallas/pallas_call.h"

// Kernels that exercise the DSL, each with the same function in plain ops.
namespace sophia::pallas {

struct TestKernel {
  std::string name;
  KernelSpec spec;
  KernelBody body;
  std::vector<Shape> inputs;
  TensorFunction reference;
  // Largest error of the interpreted kernel, of the largest reference element.
  double tolerance = 1e-5;
  // The oldest TPU that compiles it.
  Chip from = Chip::kV2;
  // Integer inputs are drawn from [0, below).
  int below = 4;
};

// [M, K] x [K, N], K accumulated block by block in f32 scratch; one side may be transposed.
struct MatMulConfig {
  std::string name = "matmul";
  DType dtype = DType::kF32;
  int64_t m = 256;
  int64_t n = 256;
  int64_t k = 512;
  int64_t block_m = 128;
  int64_t block_n = 128;
  int64_t block_k = 256;
  bool transpose_lhs = false;
  bool transpose_rhs = false;
};
TestKernel MatMulKernel(const MatMulConfig& config);

// With references.
std::vector<TestKernel> SampleKernels();
// Without: one op or idea each.
std::vector<TestKernel> OpKernels();
// Kernels that pass the checks while tracing but not libtpu.
std::vector<TestKernel> RefusedKernels();

}  // namespace sophia::pallas
