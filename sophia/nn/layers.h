#pragma once

#include <memory>

#include "sophia/kernels/rms_norm.h"
#include "sophia/nn/param.h"

namespace sophia::nn {

// What the reverse pass keeps of linear layers under Remat::Named: their results.
inline constexpr const char* kSavedLinear = "linear";

struct LinearOptions {
  bool bias = false;
};

// y = x·Wᵀ + b with weight [out, in] as published, plus what the scope's policy adds. Layers
// compute with the policy's kernels.
class Linear {
 public:
  Linear(const ParamScope& scope, int64_t in, int64_t out, const LinearOptions& options = {});

  // x: [..., in] -> [..., out], or [..., out / outputs.count] for a part, in x's type.
  Tensor operator()(const Tensor& x, const EqualPart& outputs = {}) const;

 private:
  const ParamPolicy* policy_;
  LinearParams params_;
  std::unique_ptr<LinearExtension> extension_;
};

// x / sqrt(mean(x²) + eps) · weight: see the kernel's header.
class RmsNorm {
 public:
  RmsNorm(const ParamScope& scope, int64_t size, double eps);

  // x: [..., size].
  Tensor operator()(const Tensor& x) const;
  // Of x + residual, which it gives as well.
  kernels::AddRmsNormOutput OfSum(const Tensor& x, const Tensor& residual) const;

 private:
  kernels::RmsNormOptions options() const;

  const ParamPolicy* policy_;
  Param weight_;
  double eps_;
};

// Rows of a table [vocab, size].
class Embedding {
 public:
  Embedding(const ParamScope& scope, int64_t vocab, int64_t size);

  // ids: integers [...] -> [..., size].
  Tensor operator()(const Tensor& ids) const;
  const Param& weight() const { return weight_; }

 private:
  Param weight_;
};

// Zeroes elements with probability `rate` and scales the others by 1/(1-rate). The identity when
// the table has no dropout seed. `place`, below 32768, tells uses apart. The same seed drops the
// same elements on every target.
Tensor Dropout(const ParamTable& table, const Tensor& x, double rate, size_t place,
               const kernels::KernelTarget& target = {});

}  // namespace sophia::nn
