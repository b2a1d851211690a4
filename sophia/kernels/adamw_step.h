#pragma once

#include "sophia/kernels/adam_formula.h"
#include "sophia/kernels/adamw.h"

// What the kernels of AdamW share.
namespace sophia::kernels {

// AdamWScalars for an update that is added.
template <typename T>
struct AdamWNumbers {
  T grad_factor;
  T correction1;
  T root_correction2;
  T minus_rate;
};

// AdamW's step of parameters and moments in f32; T is a kernel's value or a tensor.
template <typename T>
struct AdamWStep {
  AdamWStep(const T& old_param, const T& grad, const T& old_mu, const T& old_nu,
            const AdamWNumbers<T>& numbers, const AdamWOptions& o) {
    const T scaled = grad * numbers.grad_factor;
    mu = NextMean(old_mu, scaled, o.b1);
    nu = NextSquare(old_nu, scaled, o.b2);
    T direction = AdamDirection(mu, nu, numbers.correction1, numbers.root_correction2, o.eps);
    if (o.weight_decay != 0) direction = direction + old_param * o.weight_decay;
    param = old_param + direction * numbers.minus_rate;
  }
  T param, mu, nu;
};

// The numbers as the one operand in SMEM that kernels read them from, f32 [1, 4].
Tensor PackScalars(const AdamWScalars& scalars);
pallas::BlockSpec ScalarSpec();
AdamWNumbers<Tensor> NumbersIn(const Tensor& packed);
AdamWNumbers<pallas::Val> NumbersIn(const pallas::Ref& packed);

// Throws Error for gradients of other sizes than the parameter's, or types that it does not take.
void CheckAdamWInputs(const Tensor& param, const Tensor& grad, const AdamWScalars& scalars);

// A tensor of the parameter's sizes as ParamRows says, and back.
Tensor ToParamRows(const Tensor& x);
Tensor FromParamRows(const Tensor& rows, const Dims& dims);

}  // namespace sophia::kernels
