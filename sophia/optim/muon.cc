#include <algorithm>
#include <cmath>

#include "sophia/base/error.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/kernels/adam_formula.h"
#include "sophia/optim/parts.h"

namespace sophia::optim {
namespace {

constexpr double kEps = 1e-8;

// a·b of [L, n, k] and [L, k, m], or a·bᵀ with b [L, m, k].
Tensor Product(const Tensor& a, const Tensor& b, bool transposed = false) {
  return DotGeneral(a, b,
                    {.lhs_batch = {0},
                     .rhs_batch = {0},
                     .lhs_contract = {2},
                     .rhs_contract = {transposed ? 2 : 1}});
}

// Near-orthogonal matrices of the same singular vectors; x: [L, rows, columns].
Tensor Orthogonalize(Tensor x, int64_t steps) {
  const bool is_tall = x.dim(1) > x.dim(2);
  if (is_tall) x = Transpose(x, {0, 2, 1});
  x = x / (Sqrt(Sum(x * x, {1, 2}, {.keep_dims = true})) + kEps);
  for (int64_t step = 0; step < steps; ++step) {
    const Tensor gram = Product(x, x, true);
    const Tensor factor = gram * -4.7750 + Product(gram, gram) * 2.0315;
    x = x * 3.4445 + Product(factor, x);
  }
  return is_tall ? Transpose(x, {0, 2, 1}) : x;
}

double ShapeFactor(const Dims& dims, double consistent_rms) {
  const auto rows = static_cast<double>(dims[dims.size() - 2]);
  const auto columns = static_cast<double>(dims.back());
  if (consistent_rms > 0) return std::sqrt(std::max(rows, columns)) * consistent_rms;
  return std::sqrt(std::max(1.0, rows / columns));
}

std::vector<Slot> Slots(std::span<const NamedShape> parameters) {
  std::vector<Slot> slots = ZeroSlots({"mu"})(parameters);
  for (const NamedShape& parameter : parameters) {
    if (IsMatrix(parameter)) continue;
    slots.push_back({"nu/" + parameter.name, {DType::kF32, parameter.shape.dims}});
  }
  return slots;
}

// Nesterov's look ahead with both terms bias-corrected, as Optax has it.
Tensor LookAhead(const Tensor& mu, const Tensor& grad, double beta, const Tensor& count) {
  return mu * beta / BiasCorrection(beta, count + 1.0) +
         grad * (1 - beta) / BiasCorrection(beta, count);
}

Update MuonUpdate(const MuonOptions& options, const UpdateArgs& args) {
  const std::vector<NamedShape> parameters = Parameters(args);
  const TensorList grads = InF32(args.grads);
  const Tensor count = Convert(args.step, DType::kF32) + 1.0;
  Update result{.updates = {}, .state = TensorList(args.state.size())};
  size_t nu_slot = grads.size();
  for (size_t i = 0; i < grads.size(); ++i) {
    const Tensor& grad = grads[i];
    const bool is_matrix = IsMatrix(parameters[i]);
    const double beta = is_matrix ? options.momentum : options.adam.b1;
    const Tensor mu = kernels::NextMean(args.state[i], grad, beta);
    const Tensor ahead = LookAhead(mu, grad, beta, count);
    result.state[i] = mu;
    if (is_matrix) {
      const Dims& dims = grad.dims();
      const Tensor stack = Reshape(ahead, {-1, dims[dims.size() - 2], dims.back()});
      result.updates.push_back(Reshape(Orthogonalize(stack, options.ns_steps), dims) *
                               ShapeFactor(dims, options.consistent_rms));
      continue;
    }
    const Tensor nu = kernels::NextSquare(args.state[nu_slot], grad, options.adam.b2);
    result.state[nu_slot++] = nu;
    const Tensor root = Sqrt(nu / BiasCorrection(options.adam.b2, count));
    result.updates.push_back(ahead / (root + options.adam.eps));
  }
  return result;
}

}  // namespace

Transform Muon(const MuonOptions& options) {
  CheckFraction("Muon", "momentum", options.momentum);
  CheckNotNegative("Muon", "consistent_rms", options.consistent_rms);
  CheckFraction("Muon", "b1", options.adam.b1);
  CheckFraction("Muon", "b2", options.adam.b2);
  if (options.ns_steps < 1) Fail("Muon", "expected ns_steps above 0, got {}", options.ns_steps);
  return Scheduled(options.update, {.slots = Slots, .update = [options](const UpdateArgs& args) {
                                      return MuonUpdate(options, args);
                                    }});
}

}  // namespace sophia::optim
