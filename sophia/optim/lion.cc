#include "sophia/graph/ops/elementwise.h"
#include "sophia/optim/parts.h"

namespace sophia::optim {

Transform Lion(const LionOptions& options) {
  CheckFraction("Lion", "b1", options.b1);
  CheckFraction("Lion", "b2", options.b2);
  const auto update = [options](const UpdateArgs& args) {
    Update result;
    const TensorList grads = InF32(args.grads);
    for (size_t i = 0; i < grads.size(); ++i) {
      const Tensor &mu = args.state[i], &grad = grads[i];
      result.updates.push_back(Sign(mu * options.b1 + grad * (1 - options.b1)));
      result.state.push_back(mu * options.b2 + grad * (1 - options.b2));
    }
    return result;
  };
  return Scheduled(options.update, {.slots = ZeroSlots({"mu"}), .update = update});
}

}  // namespace sophia::optim
