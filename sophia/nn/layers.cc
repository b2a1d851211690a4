#include "sophia/nn/layers.h"

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/kernels/dropout.h"

namespace sophia::nn {

Linear::Linear(const ParamScope& scope, int64_t in, int64_t out, const LinearOptions& options)
    : policy_(&scope.policy()),
      params_{.weight = scope.Declare("weight", {out, in}, {.may_pack = true}), .bias = {}} {
  if (options.bias) params_.bias = scope.Declare("bias", {out});
  extension_ = scope.policy().ExtendLinear(scope, in, out);
}

Tensor Linear::operator()(const Tensor& x, const EqualPart& outputs) const {
  Tensor y = params_.weight.Multiply(x, policy_->kernels(), outputs);
  if (params_.bias.defined()) {
    y = y + Convert(TakePart(params_.bias.value(), 0, outputs), y.dtype());
  }
  if (extension_ != nullptr) y = extension_->Apply(params_, x, y, outputs);
  return CheckpointName(y, kSavedLinear);
}

RmsNorm::RmsNorm(const ParamScope& scope, int64_t size, double eps)
    : policy_(&scope.policy()), weight_(scope.Declare("weight", {size})), eps_(eps) {}

kernels::RmsNormOptions RmsNorm::options() const {
  return {.eps = eps_, .weight_gradient = weight_.spec().trainable};
}

Tensor RmsNorm::operator()(const Tensor& x) const {
  return kernels::RmsNorm(x, weight_.value(), policy_->kernels(), options());
}

kernels::AddRmsNormOutput RmsNorm::OfSum(const Tensor& x, const Tensor& residual) const {
  return kernels::AddRmsNorm(x, residual, weight_.value(), policy_->kernels(), options());
}

Embedding::Embedding(const ParamScope& scope, int64_t vocab, int64_t size)
    : weight_(scope.Declare("weight", {vocab, size}, {.may_pack = true, .is_table = true})) {}

Tensor Embedding::operator()(const Tensor& ids) const { return weight_.Rows(ids); }

Tensor Dropout(const ParamTable& table, const Tensor& x, double rate, size_t place,
               const kernels::KernelTarget& target) {
  if (!table.dropout_seed().defined() || rate <= 0) return x;
  const Tensor here = Scalar(DType::kS32, static_cast<double>(place) * 65536.0);
  const Tensor stream = table.layer().defined() ? here + table.layer() : here;
  return kernels::Dropout(x, kernels::DropoutKey(table.dropout_seed(), stream), target,
                          {.rate = rate});
}

}  // namespace sophia::nn
