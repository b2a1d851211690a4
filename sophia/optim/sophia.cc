#include "sophia/base/error.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/kernels/adam_formula.h"
#include "sophia/optim/parts.h"

namespace sophia::optim {
namespace {

Update SophiaUpdate(const SophiaOptions& options, const UpdateArgs& args) {
  SOPHIA_CHECK(args.curvature, "no estimate of the curvature");
  const TensorList grads = InF32(args.grads);
  const size_t n = grads.size();
  SOPHIA_CHECK(args.state.size() == 2 * n, "{} state tensors", args.state.size());
  TensorList kept(args.state.begin() + static_cast<std::ptrdiff_t>(n), args.state.end());
  const auto interval = static_cast<double>(options.update_interval);
  const TensorList h = Cond(
      Eq(Rem(args.step, interval), 0.0),
      [&] {
        TensorList next = InF32(args.curvature());
        for (size_t i = 0; i < n; ++i) {
          next[i] = kernels::NextMean(kept[i], next[i], options.b2);
        }
        return next;
      },
      [&] { return kept; });
  Update result{.updates = {}, .state = TensorList(2 * n)};
  for (size_t i = 0; i < n; ++i) {
    const Tensor mu = kernels::NextMean(args.state[i], grads[i], options.b1);
    const Tensor step = mu / Max(h[i] * options.gamma, options.eps);
    result.updates.push_back(Clamp(-1.0, step, 1.0));
    result.state[i] = mu;
    result.state[n + i] = h[i];
  }
  return result;
}

}  // namespace

Transform Sophia(const SophiaOptions& options) {
  CheckFraction("Sophia", "b1", options.b1);
  CheckFraction("Sophia", "b2", options.b2);
  CheckPositive("Sophia", "eps", options.eps);
  CheckPositive("Sophia", "gamma", options.gamma);
  if (options.update_interval < 1) {
    Fail("Sophia", "expected update_interval above 0, got {}", options.update_interval);
  }
  SOPHIA_CHECK(options.estimator != Curvature::kNone);
  Transform direction{.slots = ZeroSlots({"mu", "h"}), .update = [options](const UpdateArgs& args) {
                        return SophiaUpdate(options, args);
                      }};
  direction.curvature = options.estimator;
  return Scheduled(options.update, std::move(direction));
}

}  // namespace sophia::optim
