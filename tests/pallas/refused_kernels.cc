// tests/python/test_mosaic.py looks for the line of what libtpu refuses by the comment on it.
#include "tests/pallas/kernels.h"

namespace sophia::pallas {
namespace {

TestKernel ReshapeKernel() {
  return {.name = "odd_reshape",
          .spec = {.name = "odd_reshape",
                   .in_specs = {{}},
                   .out_shapes = {{DType::kF32, {96, 200}}},
                   .out_specs = {{}}},
          .body =
              [](const KernelRefs& r) {
                const Val x = r.in[0].Load();
                const Val y = Reshape(x, {96, 200});  // odd_reshape is refused here
                r.out[0].Store(y);
              },
          .inputs = {{DType::kF32, {64, 300}}}};
}

// Keeps six arrays of 4 MiB alive, which the checks do not count.
TestKernel SpillingKernel() {
  const Shape array{DType::kF32, {1024, 1024}};
  return {.name = "spills",
          .spec = {.name = "spills",
                   .in_specs = {{}},
                   .out_shapes = {array},
                   .out_specs = {{}},
                   .scratch_shapes = {Vmem(array.dtype, array.dims)}},
          .body =
              [](const KernelRefs& r) {
                std::vector<Val> arrays;
                for (int i = 0; i < 6; ++i) arrays.push_back(Exp(r.in[0].Load() * i));
                Val product = arrays[0];
                for (int i = 1; i < 6; ++i) product = Dot(product, arrays[static_cast<size_t>(i)]);
                r.scratch[0].Store(product);
                const Val turned = Transpose(r.scratch[0].Load());
                r.out[0].Store(turned + Dot(product, Transpose(product)));
              },
          .inputs = {array}};
}

}  // namespace

std::vector<TestKernel> RefusedKernels() { return {ReshapeKernel(), SpillingKernel()}; }

}  // namespace sophia::pallas
