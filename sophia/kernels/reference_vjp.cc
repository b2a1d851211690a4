#include "sophia/kernels/reference_vjp.h"

#include <utility>

#include "sophia/autodiff/autodiff.h"

namespace sophia::kernels {

pallas::KernelVjp ReferenceVjp(TensorFunction reference) {
  return [reference = std::move(reference)](std::span<const Tensor> inputs,
                                            std::span<const Tensor> cotangents) {
    return Vjp(reference, {inputs.begin(), inputs.end()}).pullback(cotangents);
  };
}

}  // namespace sophia::kernels
