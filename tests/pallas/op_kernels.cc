// Small kernels that together use every op. They have no reference: the interpreter and the
// evaluator of the text have to agree.
#include "tests/pallas/op_kernels.h"

namespace sophia::pallas {

void Rows::Add(const Val& value, Loc loc) {
  Val wide = value;
  if (value.dtype() == DType::kBool) {
    wide = Convert(value, DType::kS32, loc);
  }
  wide = BroadcastTo(Convert(wide, DType::kF32, loc), {value.dim(0), out_.dim(1)}, loc);
  out_.At({Ds(next_, value.dim(0))}, loc).Store({wide, loc});
  next_ += value.dim(0);
}

void Rows::Finish() const {
  SOPHIA_CHECK(next_ == out_.dim(0), "{} rows of {}", next_, out_.dim(0));
}

TestKernel RowsKernel(std::string name, std::vector<Shape> inputs, int64_t rows,
                      std::function<void(const KernelRefs&, Rows&)> body) {
  TestKernel kernel{.name = name};
  kernel.spec = {.name = std::move(name),
                 .in_specs = std::vector<BlockSpec>(inputs.size()),
                 .out_shapes = {{DType::kF32, {rows, 128}}},
                 .out_specs = {{}}};
  kernel.inputs = std::move(inputs);
  kernel.body = [body = std::move(body)](const KernelRefs& r) {
    Rows out(r.out[0]);
    body(r, out);
    out.Finish();
  };
  return kernel;
}

std::vector<TestKernel> OpKernels() {
  std::vector<TestKernel> kernels;
  for (const auto& part : {ElementKernels(), ArrayKernels(), GridKernels()}) {
    kernels.insert(kernels.end(), part.begin(), part.end());
  }
  for (TestKernel& kernel : kernels) kernel.below = 8;
  return kernels;
}

}  // namespace sophia::pallas
