#pragma once

// Adam's formulas for values of kernels and tensors of the graph alike, all f32.
namespace sophia::kernels {

template <typename T>
T NextMean(const T& mu, const T& grad, double b1) {
  return mu * b1 + grad * (1 - b1);
}

template <typename T>
T NextSquare(const T& nu, const T& grad, double b2) {
  return nu * b2 + grad * grad * (1 - b2);
}

// m_hat / (sqrt(v_hat) + eps); `correction1` is 1 - b1^t and `root_correction2` sqrt(1 - b2^t).
template <typename T, typename Scalar>
T AdamDirection(const T& mu, const T& nu, const Scalar& correction1, const Scalar& root_correction2,
                double eps) {
  return mu / correction1 / (Sqrt(nu) / root_correction2 + eps);
}

}  // namespace sophia::kernels
