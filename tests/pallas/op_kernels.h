#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/pallas/kernels.h"

namespace sophia::pallas {

// Stores f32 results of 128 lanes one below the other into a ref.
class Rows {
 public:
  explicit Rows(Ref out) : out_(std::move(out)) {}

  // `value` [R, 128 or 1], of any type.
  void Add(const Val& value, Loc loc = Loc::current());
  // Every row has to be stored.
  void Finish() const;

 private:
  Ref out_;
  int64_t next_ = 0;
};

// A kernel without grid whose result is f32[rows, 128].
TestKernel RowsKernel(std::string name, std::vector<Shape> inputs, int64_t rows,
                      std::function<void(const KernelRefs&, Rows&)> body);

// Parts of OpKernels.
std::vector<TestKernel> ElementKernels();
std::vector<TestKernel> ArrayKernels();
std::vector<TestKernel> GridKernels();

}  // namespace sophia::pallas
